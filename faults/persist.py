"""Asking again, as a client does: whoever answers 503 for a fault that has passed must answer 201 then."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from coatcheck.store import StoreFullError, StoreUnavailableError

from .ledger import Ledger, Line, Mark

T = TypeVar("T")

TRIES = 3
_CHUNK_BYTES = 256 * 1024


class StuckError(Exception):
    """A fault that has passed was answered again and again."""


async def persist(
    ledger: Ledger, step: str, work: Callable[[], Awaitable[T]], tenant: str = "", digest: str = ""
) -> T:
    """Do the work; again, where the store says that it is full or unavailable, and note each try.

    Raises:
        StuckError: it says so every time.
    """
    for _ in range(TRIES):
        ledger.write(Line(Mark.BEGUN, step, tenant, digest))
        try:
            return await work()
        except (StoreFullError, StoreUnavailableError) as error:
            text = f"{type(error).__name__}: {error}"
            ledger.write(Line(Mark.REFUSED, step, tenant, digest, text))
    raise StuckError(f"{step}: refused {TRIES} times")


async def body(data: bytes) -> AsyncIterator[bytes]:
    """Yield the bytes as they come over a network."""
    for at in range(0, len(data), _CHUNK_BYTES):
        yield data[at : at + _CHUNK_BYTES]
