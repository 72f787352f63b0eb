"""The library that an SDK sends with: `httpx2`, or `httpx` for older SDKs.

Both have one interface, so types are written with those of `httpx2`. Neither is needed, nor imported,
before one is asked for.
"""

from dataclasses import dataclass
from importlib import import_module, metadata, util
from typing import TYPE_CHECKING, Literal, TypeAlias

from ..errors import InvalidArgumentError

if TYPE_CHECKING:
    import httpx2

Name: TypeAlias = Literal["httpx2", "httpx"]

_NAMES: tuple[Name, ...] = ("httpx2", "httpx")
_SDKS = ("openai", "anthropic", "google-genai")


@dataclass(frozen=True, slots=True)
class Library:
    """What is used of one of them."""

    client: "type[httpx2.Client]"
    async_client: "type[httpx2.AsyncClient]"
    request: "type[httpx2.Request]"
    response: "type[httpx2.Response]"
    url: "type[httpx2.URL]"
    connect_error: "type[httpx2.ConnectError]"
    connect_timeout: "type[httpx2.ConnectTimeout]"
    timeout: "type[httpx2.TimeoutException]"
    transport_error: "type[httpx2.TransportError]"
    protocol_error: "type[httpx2.RemoteProtocolError]"
    stream: "type[httpx2.SyncByteStream]"
    async_stream: "type[httpx2.AsyncByteStream]"


def load(name: Name) -> Library:
    """Import a library.

    Raises:
        InvalidArgumentError: it is not installed.
    """
    try:
        module = import_module(name)
    except ImportError as error:
        raise InvalidArgumentError(f"{name} is not installed") from error
    return Library(
        client=module.Client,
        async_client=module.AsyncClient,
        request=module.Request,
        response=module.Response,
        url=module.URL,
        connect_error=module.ConnectError,
        connect_timeout=module.ConnectTimeout,
        timeout=module.TimeoutException,
        transport_error=module.TransportError,
        protocol_error=module.RemoteProtocolError,
        stream=module.SyncByteStream,
        async_stream=module.AsyncByteStream,
    )


def library_of(client: object) -> Library:
    """Return the library that one of its clients is from, subclasses included.

    Raises:
        InvalidArgumentError: it is from neither.
    """
    for kind in type(client).__mro__:
        package = kind.__module__.partition(".")[0]
        for name in _NAMES:
            if package == name:
                return load(name)
    raise InvalidArgumentError(f"{type(client).__name__} is no client of httpx2 or httpx")


def preferred() -> Name:
    """Return what the SDK that is installed sends with; of several the first of `_SDKS` counts.

    Where there is none, it is what is installed of the libraries.

    Raises:
        InvalidArgumentError: neither is.
    """
    here: list[Name] = [name for name in _NAMES if util.find_spec(name) is not None]
    found: list[Name] = [name for sdk in _SDKS for name in _needs(sdk) if name in here]
    found += here
    if found:
        return found[0]
    raise InvalidArgumentError("neither httpx2 nor httpx is installed")


def _needs(distribution: str) -> list[Name]:
    """Return which of the libraries a package requires without its extras."""
    try:
        requirements = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return []
    plain = [text for text in requirements if "extra ==" not in text]
    return [name for name in _NAMES if any(_names(text, name) for text in plain)]


def _names(requirement: str, name: str) -> bool:
    rest = requirement.removeprefix(name)
    return rest != requirement and not (rest[:1].isalnum() or rest[:1] in ("-", "_", "."))
