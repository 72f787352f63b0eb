"""Ref form: messages with a ref in place of every attachment's bytes.

It is a pure function of the messages. Refs stay as they were written, file ids too; a pointer
follows the rule of the inline bytes that it stands in for.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from .attachment import FoundInline, FoundPointer, FoundRef, Path, inline_ref
from .dialect import Dialect
from .digest import Digest
from .json_value import Json, copy_json
from .sniff import SNIFF_BYTES, sniff


@dataclass(frozen=True, slots=True)
class NamedBytes:
    """What inline bytes are: their digest, and the type that their content shows."""

    digest: Digest
    sniffed: str | None


NameBytes = Callable[[FoundInline], NamedBytes | None]
"""Names inline bytes; None where the base64 is not strict, and they stay."""


def name_bytes(found: FoundInline) -> NamedBytes | None:
    """Name inline bytes by decoding and hashing them: about 1 ms a megabyte."""
    data = found.decode()
    return None if data is None else NamedBytes(Digest.of(data), sniff(data[:SNIFF_BYTES]))


@dataclass(frozen=True, slots=True)
class InlineBlob:
    """Bytes that stood in a message: which one, their digest, and where they can be decoded.

    `sniffed` is the type that their content shows.
    """

    message: int
    digest: Digest
    found: FoundInline
    sniffed: str | None = None

    @property
    def media_type(self) -> str | None:
        """The type declared for them."""
        return self.found.media_type

    def decode(self) -> bytes:
        """Return the bytes, decoded anew: nobody has to hold those of all blobs at once."""
        data = self.found.decode()
        assert data is not None  # they were decoded once, to be hashed
        return data


@dataclass(frozen=True, slots=True)
class RefForm:
    """Messages in ref form; for each message the blobs it names; the bytes that were inline.

    `places` are the attachments in order: where each stood, and which blob it is.
    """

    messages: list[Json]
    blobs: list[tuple[Digest, ...]]
    inline: list[InlineBlob]
    places: list[tuple[Path, Digest]]


def ref_form(
    dialect: Dialect,
    messages: Sequence[Json],
    origins: Collection[str] = (),
    name: NameBytes = name_bytes,
) -> RefForm:
    """Return the ref form of a message list; the list itself is not changed.

    Decodes and hashes inline bytes, one blob at a time: about 1 ms a megabyte, so large lists
    belong in a thread. Whoever knows some of them by other means passes another `name`.
    Base64 that is not strict stays as it is.

    Raises:
        MalformedMessageError: as `Dialect.walk`.
    """
    copied = [copy_json(message) for message in messages]
    blobs: list[list[Digest]] = [[] for _ in copied]
    inline: list[InlineBlob] = []
    places: list[tuple[Path, Digest]] = []
    for slot in dialect.walk(copied, origins):
        found = slot.found
        message = next(step for step in slot.path if isinstance(step, int))
        match found:
            case FoundRef():
                digest = found.ref.digest
            case FoundPointer():
                digest = found.pointer.digest
                slot.put_ref(inline_ref(found, digest, None))
            case FoundInline():
                named = name(found)
                if named is None:
                    continue
                digest = named.digest
                slot.put_ref(inline_ref(found, digest, named.sniffed))
                inline.append(InlineBlob(message, digest, found, named.sniffed))
            case _:
                continue
        blobs[message].append(digest)
        places.append((slot.path, digest))
    return RefForm(copied, [tuple(dict.fromkeys(named)) for named in blobs], inline, places)
