"""Turns with pointers whose bytes a hook holds: they are uploaded like bytes that stand inline."""

from dataclasses import dataclass

from coatcheck.protocol import (
    Digest,
    FoundInline,
    FoundPointer,
    InlineBlob,
    MalformedMessageError,
)

from ..errors import BlobNotFoundError
from ..exchange import Exchange
from ..known import Known
from ..refusal import refusal
from ..turn import Taken, Turn, take
from ..upload import Spent, upload_again, upload_missing
from .attachments import attachments
from .sources import Sources


@dataclass(frozen=True, slots=True)
class HeldBytes(FoundInline):
    """Bytes at hand, in place of the base64 of them."""

    data: bytes = b""

    def decode(self) -> bytes:
        """Return the bytes."""
        return self.data


def take_held(turn: Turn, known: Known, sources: Sources) -> Exchange[Taken]:
    """Take a turn as `take` does, after uploading what its pointers stand for.

    Raises:
        the errors of `take`.
    """
    held = [] if sources.is_empty else _held(turn, sources)
    if not held:
        return (yield from take(turn, known))
    named, spent = turn.for_whom, Spent()
    yield from upload_missing(held, named, known, spent)
    taken = yield from take(turn, known)
    if not (lost := _lost(taken, {blob.digest for blob in held})):
        return taken
    yield from upload_again(lost, held, named, known, spent)
    return (yield from take(turn, known))


def _held(turn: Turn, sources: Sources) -> list[InlineBlob]:
    """Return what pointers stand for, as far as it is at hand."""
    assert turn.body is not None
    found: list[InlineBlob] = []
    try:
        for slot in attachments(turn.body, turn.dialect):
            if isinstance(slot.found, FoundPointer):
                digest, media_type = slot.found.pointer.digest, slot.found.media_type
                if (data := sources.get(digest)) is not None:
                    found.append(InlineBlob(0, digest, HeldBytes("", 0, media_type, data=data)))
    except MalformedMessageError:
        return []  # whoever is asked says so
    return found


def _lost(taken: Taken, held: set[Digest]) -> set[Digest]:
    """Return what a server says that it does not have, where all of it is held."""
    if taken.reply.status != 404:
        return set()
    error = refusal(taken.reply)
    if not isinstance(error, BlobNotFoundError):
        return set()
    lost = {entry.digest for entry in error.missing if entry.digest is not None}
    return lost if len(lost) == len(error.missing) and lost <= held else set()
