"""Clients of httpx2 and httpx whose turns go through Coatcheck."""

from functools import partial
from typing import TYPE_CHECKING, Literal, cast, overload

from coatcheck.protocol import holds_key

from ..endpoint import Endpoint
from .address import Address, as_written, below, everything, is_same_origin
from .known import SdkKnown
from .library import Library, Name, load, preferred
from .office import Fallback, Office

if TYPE_CHECKING:
    import httpx
    import httpx2

OFFICE = "_coatcheck_office"
"""The attribute of a client by which it is known to send through an office."""


@overload
def http_client(
    base_url: str,
    key: str | None = None,
    library: Literal["httpx2"] | None = None,
    *,
    fallback: Fallback | None = None,
) -> "httpx2.Client": ...
@overload
def http_client(
    base_url: str,
    key: str | None = None,
    *,
    library: Literal["httpx"],
    fallback: Fallback | None = None,
) -> "httpx.Client": ...
def http_client(
    base_url: str,
    key: str | None = None,
    library: Name | None = None,
    *,
    fallback: Fallback | None = None,
) -> "httpx2.Client | httpx.Client":
    """Return a client to pass to an SDK as its `http_client`: its turns go through Coatcheck.

    All requests go to `base_url`, Coatcheck's origin, each under its own path, whatever base URL the SDK
    has; turns carry what is new, and images once. `key` begins `cck_`; without one, whatever key the SDK
    sends counts. `library` is which one the SDK takes; by default what the installed SDKs need, or else
    what is installed. With `fallback="direct"` a turn that nobody takes at Coatcheck goes where the SDK
    says. Close it like any client; it is safe for threads. `wrap` takes less of the processor's time.

    Raises:
        InvalidArgumentError: `base_url` is no origin, `key` does not fit into a header, or the library
            is not installed.
    """
    found = load(library or preferred())
    origin = found.url(Endpoint(base_url, key).base_url)
    office = office_of(found, everything(origin), key, fallback)

    def keep_keys(request: "httpx2.Request") -> None:
        _keep_keys(origin, request)

    hooks = {"request": [keep_keys]}
    return shell(office, found.client(follow_redirects=True, event_hooks=hooks), follows=True)


@overload
def async_http_client(
    base_url: str,
    key: str | None = None,
    library: Literal["httpx2"] | None = None,
    *,
    fallback: Fallback | None = None,
) -> "httpx2.AsyncClient": ...
@overload
def async_http_client(
    base_url: str,
    key: str | None = None,
    *,
    library: Literal["httpx"],
    fallback: Fallback | None = None,
) -> "httpx.AsyncClient": ...
def async_http_client(
    base_url: str,
    key: str | None = None,
    library: Name | None = None,
    *,
    fallback: Fallback | None = None,
) -> "httpx2.AsyncClient | httpx.AsyncClient":
    """Like `http_client`, for an SDK's asynchronous client. Safe for the tasks of one loop.

    Raises:
        InvalidArgumentError: as `http_client`.
    """
    found = load(library or preferred())
    origin = found.url(Endpoint(base_url, key).base_url)
    office = office_of(found, everything(origin), key, fallback)

    async def keep_keys(request: "httpx2.Request") -> None:
        _keep_keys(origin, request)

    hooks = {"request": [keep_keys]}
    inner = found.async_client(follow_redirects=True, event_hooks=hooks)
    return async_shell(office, inner, follows=True)


def _keep_keys(origin: "httpx2.URL", request: "httpx2.Request") -> None:
    """Take keys of ours out of a request to anywhere else: Coatcheck passes on an upstream's redirects."""
    if not is_same_origin(request.url, origin):
        for name in [name for name, value in request.headers.items() if holds_key(value)]:
            del request.headers[name]


def address_of(
    library: Library, base: "httpx2.URL", base_url: str | None, base_path: str
) -> Address:
    """Return where the requests of a client go whose base URL is `base`.

    `base_url` is Coatcheck's origin, where `base` is not at Coatcheck; `base_path` is what the SDK's base
    URL has already of a path there.

    Raises:
        InvalidArgumentError: `base_url` is no origin.
    """
    if base_url is None:
        return as_written(base)
    return below(base, library.url(Endpoint(base_url).base_url), base_path)


def office_of(
    library: Library, address: Address, key: str | None, fallback: Fallback | None
) -> Office:
    """Return an office that knows nothing yet."""
    return Office(library, address, SdkKnown(), key, fallback)


def shell(office: Office, inner: "httpx2.Client", *, follows: bool = False) -> "httpx2.Client":
    """Return the client that an SDK is given: it has what `inner` has, and sends through it.

    `follows` says that `inner` follows redirects itself.
    """
    # Not at the top: the SDK's library is there, but nobody else's is needed.
    from .transport import Transport

    transport = Transport(office, inner, follows=follows)
    client = office.library.client(
        transport=cast("httpx2.BaseTransport", transport),
        headers=inner.headers,
        cookies=inner.cookies.jar,
        params=inner.params,
        timeout=inner.timeout,
        base_url=inner.base_url,
        follow_redirects=inner.follow_redirects and not follows,
        max_redirects=inner.max_redirects,
        trust_env=False,
    )
    vars(client).update({OFFICE: office, "send": partial(transport.send, client.send)})
    return client


def async_shell(
    office: Office, inner: "httpx2.AsyncClient", *, follows: bool = False
) -> "httpx2.AsyncClient":
    """As `shell`, for an asynchronous client."""
    from .async_transport import AsyncTransport

    transport = AsyncTransport(office, inner, follows=follows)
    client = office.library.async_client(
        transport=cast("httpx2.AsyncBaseTransport", transport),
        headers=inner.headers,
        cookies=inner.cookies.jar,
        params=inner.params,
        timeout=inner.timeout,
        base_url=inner.base_url,
        follow_redirects=inner.follow_redirects and not follows,
        max_redirects=inner.max_redirects,
        trust_env=False,
    )
    vars(client).update({OFFICE: office, "send": partial(transport.send, client.send)})
    return client
