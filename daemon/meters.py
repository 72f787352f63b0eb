"""What the daemon measures of itself; whoever runs it decides what becomes of the numbers.

Every call returns at once and never raises. Names of upstreams come from the settings, all other
words are from here, so that the numbers stay few.
"""

from typing import Literal, Protocol

Place = Literal["store", "cache", "upload"]
Kept = Literal["kept", "refused", "not_found"]


class Meters(Protocol):
    """Takes measures. Seconds are of a monotonic clock, bytes are of bodies."""

    def resolved(self, seconds: float) -> None:
        """One turn's digests were resolved, found or not."""
        ...

    def first_byte(self, upstream: str, seconds: float) -> None:
        """An upstream's answer began, so long after the request was begun."""
        ...

    def answered(self, upstream: str, outcome: str, seconds: float) -> None:
        """An upstream's answer ended: `outcome` is its status, or the code of the error."""
        ...

    def upstream_bytes(self, *, sent: int = 0, received: int = 0) -> None:
        """Bytes went to an upstream, or came."""
        ...

    def store_bytes(self, *, sent: int = 0, received: int = 0) -> None:
        """Bytes went to the remote store, or came."""
        ...

    def saved(self, size: int) -> None:
        """A turn was so much shorter on the client's side than what stands for it upstream."""
        ...

    def prompt(self, outcome: Kept) -> None:
        """A prompt was kept, could not be, or was asked for and is not there."""
        ...

    def cache_used(self, *, hits: int = 0, misses: int = 0) -> None:
        """Blobs were used that were at hand, or had to be brought."""
        ...

    def cache_evicted(self, count: int) -> None:
        """Entries were removed to make room."""
        ...

    def verification_failed(self, place: Place) -> None:
        """Bytes were not what their name or checksum says."""
        ...

    def observed(self, *, is_dropped: bool) -> None:
        """A request was observed; its body was dropped where there was no room or time for it."""
        ...


class NoMeters:
    """Meters that nobody reads."""

    def resolved(self, seconds: float) -> None: ...

    def first_byte(self, upstream: str, seconds: float) -> None: ...

    def answered(self, upstream: str, outcome: str, seconds: float) -> None: ...

    def upstream_bytes(self, *, sent: int = 0, received: int = 0) -> None: ...

    def store_bytes(self, *, sent: int = 0, received: int = 0) -> None: ...

    def saved(self, size: int) -> None: ...

    def prompt(self, outcome: Kept) -> None: ...

    def cache_used(self, *, hits: int = 0, misses: int = 0) -> None: ...

    def cache_evicted(self, count: int) -> None: ...

    def verification_failed(self, place: Place) -> None: ...

    def observed(self, *, is_dropped: bool) -> None: ...
