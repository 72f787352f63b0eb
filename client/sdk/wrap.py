"""Wrapping an SDK's client."""

from typing import TYPE_CHECKING, TypeVar, cast

from coatcheck.protocol import ANTHROPIC, OPENAI

from ..endpoint import Endpoint
from ..errors import InvalidArgumentError
from .office import Fallback
from .stainless import StainlessClient, wrap_stainless

if TYPE_CHECKING:
    from google import genai

C = TypeVar("C")

_BASE_PATHS = {"openai": OPENAI.base_path, "anthropic": ANTHROPIC.base_path}
"""What an SDK's base URL has already of a path, by the package that its client is from."""


def wrap(
    client: C,
    *,
    base_url: str | None = None,
    key: str | None = None,
    fallback: Fallback | None = None,
) -> C:
    """Return a client of the same kind whose turns go through Coatcheck.

    `client` is one of `openai`, `anthropic` or `google-genai`, blocking or not. Its base URL is
    Coatcheck's; or `base_url` is Coatcheck's origin, and the client keeps its provider's. `key` begins
    `cck_`, and is sent beside the client's own; without one that one counts. Images in a call's Python
    objects go up once and become refs before anything is written as JSON; what was sent, and what was
    answered, is not sent again. Everything else that the client can do goes on as it was: options, retries,
    time limits, streams, errors. The client itself is not changed; both share its connections, so that
    closing either closes both. (Of `google-genai`, close the client itself.)

    With `fallback="direct"`, which needs `base_url`, a turn that nobody takes at Coatcheck goes to the
    provider itself, images inline. What only Coatcheck can resolve is an error then, `coatcheck_away`.

    Raises:
        InvalidArgumentError: the client is of no such kind, or wrapped already; `base_url` is no origin;
            `key` does not fit into a header; there is no provider to fall back to.
    """
    if fallback is not None and base_url is None:
        raise InvalidArgumentError("a fallback needs `base_url`, and a client with its provider's")
    if key is not None:
        Endpoint(base_url or "http://localhost", key)  # it says what is wrong with the key
    kinds = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(client).__mro__}
    if ("google", "Client") in kinds:
        from .genai import wrap_genai

        return cast("C", wrap_genai(cast("genai.Client", client), base_url, key, fallback))
    for package, base_path in _BASE_PATHS.items():
        if kinds & {(package, "SyncAPIClient"), (package, "AsyncAPIClient")}:
            stainless = cast("StainlessClient", client)
            return cast("C", wrap_stainless(stainless, base_url, key, fallback, base_path))
    kind = type(client)
    raise InvalidArgumentError(f"no client that is known: {kind.__module__}.{kind.__name__}")
