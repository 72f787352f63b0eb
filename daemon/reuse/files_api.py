"""Providers' Files APIs: what is asked of one to have a file there, to look for it, to remove it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from coatcheck.protocol import Json, JsonObject

from .errors import FileError
from .line import Line
from .mode import Headers
from .offer import Offer


@dataclass(frozen=True, slots=True)
class ProviderFile:
    """A file at a provider: what stands in messages, what the API calls it, when it expires.

    `expires_at` is in Unix seconds of the provider's clock; None where it does not say.
    """

    file: str
    name: str
    expires_at: float | None


class FilesApi(Protocol):
    """One provider's. It keeps no state."""

    def takes(self, offer: Offer) -> bool:
        """Whether a file of this type and size may be named in a message."""
        ...

    def use(self, offer: Offer) -> str:
        """Return what the provider is told beside the bytes: one file for each of them."""
        ...

    def lasting(self, seconds: int) -> int:
        """Return how long a file is there that is to be there so long."""
        ...

    async def upload(self, line: Line, offer: Offer, seconds: int, boundary: str) -> ProviderFile:
        """Hand a file over, which is to be there so long, of `lasting`; `boundary` is random.

        Raises:
            FileError: it was not taken.
        """
        ...

    async def has(self, line: Line, name: str) -> bool:
        """Whether a file is there, and may be named.

        Raises:
            FileError: the provider does not say.
        """
        ...

    async def remove(self, line: Line, name: str) -> None:
        """Remove a file; one that is not there is as good.

        Raises:
            FileError: the provider did not do it.
        """
        ...

    def headers(self, headers: Headers) -> Headers:
        """Return the headers of a turn that names files."""
        ...


def text_of(body: JsonObject, key: str) -> str:
    """Return a string of an answer.

    Raises:
        FileError: it has none there.
    """
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise FileError(f"the answer has no {key}")
    return value


def object_of(body: JsonObject, key: str) -> JsonObject:
    """Return an object of an answer; empty where it has none there."""
    value = body.get(key)
    return value if isinstance(value, dict) else {}


def check_size(said: Json, offer: Offer) -> None:
    """Compare what a provider says it has with what was sent, where it says so.

    Raises:
        FileError: they differ.
    """
    count = int(said) if isinstance(said, str) and said.isdecimal() else said
    if isinstance(count, int) and count != offer.size:
        raise FileError(f"{count} bytes arrived of {offer.size}")


def moment(value: Json) -> float | None:
    """Return a time of an answer: Unix seconds, or RFC 3339."""
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, str):
        return None
    try:
        return datetime.fromisoformat(value).timestamp()
    except ValueError:
        return None


def clamped(seconds: int, least: int, most: int) -> int:
    """Return how long a file is to be there, as near as the provider allows."""
    return max(least, min(seconds, most))
