"""Forms: what stands for a blob in a slot, where that is not its bytes alone."""

from dataclasses import dataclass
from typing import Protocol

from coatcheck.protocol import FileSlot, LinkSlot, Slot, UuidSlot


class Form(Protocol):
    """What stands in a slot."""

    @property
    def has_bytes(self) -> bool:
        """Whether the bytes stand there too."""
        ...

    def put(self, slot: Slot, media_type: str) -> None:
        """Put it there; the bytes have been, where it has them. The slot takes it."""
        ...


@dataclass(frozen=True, slots=True)
class AsFile:
    """A file of the provider's, by its id or URI."""

    file: str
    has_bytes = False

    def put(self, slot: Slot, media_type: str) -> None:
        """Put it there; see `Form.put`."""
        assert isinstance(slot, FileSlot)
        slot.put_file(media_type, self.file)


@dataclass(frozen=True, slots=True)
class AsUrl:
    """A URL that the provider fetches."""

    url: str
    has_bytes = False

    def put(self, slot: Slot, media_type: str) -> None:
        """Put it there; see `Form.put`."""
        assert isinstance(slot, LinkSlot)
        slot.put_url(media_type, self.url)


@dataclass(frozen=True, slots=True)
class AsUuid:
    """A name under which an engine keeps what it made of the bytes."""

    uuid: str
    has_bytes: bool

    def put(self, slot: Slot, media_type: str) -> None:
        """Put it there; see `Form.put`."""
        assert isinstance(slot, UuidSlot)
        slot.put_uuid(self.uuid, drops_bytes=not self.has_bytes)
