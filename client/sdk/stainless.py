"""Wrapping clients of `openai` and `anthropic`, which one generator makes, in all their versions.

A wrapped client is a copy of its class's own making, of a class of its own: what it builds for a turn is a
request with a stand-in for a body, and the body goes beside it as the objects that it is. So nothing large
is written as JSON. Copies of it (`with_options`) are wrapped too, and share what is known.

Used of them are `copy` and, by name, `_client` and `_build_request`, which no version since 0.75 and 1.109
has otherwise.
"""

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, Self, TypeVar, cast

from coatcheck.protocol import DIALECTS

from ..errors import InvalidArgumentError
from .clients import OFFICE, address_of, async_shell, office_of, shell
from .handed import HANDED, Handed
from .library import library_of
from .office import Fallback

if TYPE_CHECKING:
    import httpx2

_CLIENT, _BUILD = "_client", "_build_request"
_PATHS = frozenset(
    call.path.removeprefix(dialect.provider.base_path)
    for dialect in DIALECTS.values()
    for call in dialect.calls
)


class StainlessClient(Protocol):
    """What is used of a client of theirs."""

    @property
    def base_url(self) -> "httpx2.URL":
        """Where its requests go."""
        ...

    def copy(self, *, http_client: object) -> Self:
        """Return a client with the same options that sends by another."""
        ...


class _Options(Protocol):
    """What a request is built from."""

    method: str
    url: str
    json_data: object
    extra_json: Mapping[str, object] | None


C = TypeVar("C", bound=StainlessClient)
_Build = Callable[..., "httpx2.Request"]


def wrap_stainless(
    client: C, base_url: str | None, key: str | None, fallback: Fallback | None, base_path: str
) -> C:
    """Return a client like this one whose turns go through Coatcheck; see `wrap`."""
    kind = type(client)
    if any(".lib." in base.__module__ for base in kind.__mro__):
        raise InvalidArgumentError("this client is not wrapped: it speaks to a cloud's own API")
    sender: object = vars(client)[_CLIENT]
    if OFFICE in vars(sender):
        raise InvalidArgumentError("this client is wrapped already")
    library = library_of(sender)
    office = office_of(
        library, address_of(library, client.base_url, base_url, base_path), key, fallback
    )
    if isinstance(sender, library.async_client):
        copied = client.copy(http_client=async_shell(office, sender))
    else:
        copied = client.copy(http_client=shell(office, cast("httpx2.Client", sender)))
    copied.__class__ = _hooked(type(copied))
    return copied


def _hooked(kind: type[C]) -> type[C]:
    """Return a client's class that hands over bodies instead of writing them."""
    build: _Build = getattr(kind, _BUILD)

    def build_request(
        self: C, options: _Options, *rest: object, **more: object
    ) -> "httpx2.Request":
        body = _body_of(options)
        if body is None or OFFICE not in vars(vars(self)[_CLIENT]):
            return build(self, options, *rest, **more)
        lean = copy.copy(options)
        lean.json_data, lean.extra_json = {}, None
        request = build(self, lean, *rest, **more)
        write = lambda: build(self, options, *rest, **more).content
        request.extensions[HANDED] = Handed(body, write)
        return request

    names = {_BUILD: build_request, "__module__": kind.__module__, "__doc__": kind.__doc__}
    return cast(
        "type[C]", type(kind.__name__, (kind,), {**names, "__qualname__": kind.__qualname__})
    )


def _body_of(options: _Options) -> Mapping[str, object] | None:
    """Return a turn's body, as the SDK merges it; None where this is no turn."""
    body = options.json_data
    if options.method.lower() != "post" or options.url.partition("?")[0] not in _PATHS:
        return None
    if not isinstance(body, Mapping):
        return None
    return {**cast("Mapping[str, object]", body), **(options.extra_json or {})}
