"""What a mode may have stand for a blob: the blob, the slot it goes into, and how to read it."""

import asyncio
import mimetypes
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from coatcheck.protocol import PIECE_BYTES, Digest, FoundInline, Slot, clean_filename

from ..source import PieceReader, Resolved
from ..splice import Filling
from .mode import Hop

Open: TypeAlias = Callable[[], Awaitable[PieceReader]]


@dataclass(frozen=True, slots=True)
class Offer:
    """A blob in a slot. `filling` has it there; `original` is what the tenant holds of it."""

    filling: Filling
    open: Open
    original: Digest
    filename: str
    """What it is called: by the message, else by its type alone."""

    @property
    def digest(self) -> Digest:
        """Of the bytes that go."""
        return self.filling.blob.digest

    @property
    def size(self) -> int:
        """Bytes."""
        return self.filling.blob.size

    @property
    def media_type(self) -> str:
        """As what it is presented."""
        return self.filling.media_type


async def offers(hop: Hop, ability: type) -> AsyncGenerator[Offer]:
    """Yield the blobs of a turn whose slots have an ability, inline bytes included.

    Those are decoded one at a time, to be named by their own digest: the checksum of a text is none.
    """
    for filling in hop.fillings:
        if isinstance(filling.slot, ability):
            opened = partial(hop.open_blob, filling.blob.digest)
            yield _offer(filling, opened, filling.original or filling.blob.digest)
    filled = {filling.slot.path for filling in hop.fillings}
    for slot in hop.turn.slots:
        found = slot.found
        if not isinstance(found, FoundInline) or slot.path in filled:
            continue
        if found.media_type is None or not isinstance(slot, ability):
            continue
        named = await asyncio.to_thread(_named, found)
        if named is not None:
            filling = Filling(slot, Resolved(*named, found.media_type), found.media_type)
            yield _offer(filling, partial(_read, found), named[0])


def _offer(filling: Filling, opened: Open, original: Digest) -> Offer:
    return Offer(filling, opened, original, _filename(filling.slot, filling.media_type))


def _filename(slot: Slot, media_type: str) -> str:
    said = getattr(slot, "filename", None)
    name = clean_filename(said) if isinstance(said, str) else None
    if name:
        return name
    kind = "image" if media_type.startswith("image/") else "file"
    return kind + (mimetypes.guess_extension(media_type) or "")


def _named(found: FoundInline) -> tuple[Digest, int] | None:
    data = found.decode()
    return None if data is None else (Digest.of(data), len(data))


async def _read(found: FoundInline) -> "_AtHand":
    data = await asyncio.to_thread(found.decode)
    assert data is not None  # it was decoded once, to be named
    return _AtHand(data)


class _AtHand:
    """Bytes that came inline, as a blob's reader gives them."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    async def read_piece(self, index: int) -> memoryview:
        return memoryview(self._data)[index * PIECE_BYTES : (index + 1) * PIECE_BYTES]

    async def close(self) -> None:
        self._data = b""
