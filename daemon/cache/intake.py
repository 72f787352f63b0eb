"""A blob on its way into the cache: bounded, hashed and compared as it comes."""

from coatcheck.protocol import SNIFF_BYTES, Digest, Hasher, sniff

from ..errors import WrongBytesError
from .errors import NoRoomError
from .files import Incoming
from .rows import Copy


class Intake:
    """A `Sink` into an incoming file. Blocking; used by one thread at a time."""

    def __init__(self, incoming: Incoming, digest: Digest, size: int, seed: int) -> None:
        self._incoming = incoming
        self._digest = digest
        self._size = size
        self._hasher = Hasher(seed)
        self._head = b""

    def begin(self, size: int | None) -> None:
        """Refuse an answer that says another size.

        Raises:
            WrongBytesError: it does.
        """
        if size not in (None, self._size):
            raise WrongBytesError(self._digest)

    def write(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            WrongBytesError: there are more than the blob has.
            NoRoomError: they cannot be written.
        """
        if self._hasher.size + len(data) > self._size:
            raise WrongBytesError(self._digest)
        if len(self._head) < SNIFF_BYTES:
            self._head += data[: SNIFF_BYTES - len(self._head)]
        try:
            self._incoming.write(data)
        except OSError as error:
            raise NoRoomError(f"the disk takes no copy: {error}") from error
        self._hasher.update(data)

    def received(self, count: int) -> None:
        """Nobody is told."""

    def conclude(self, now: float) -> Copy:
        """Return what came as a copy.

        Raises:
            WrongBytesError: it is not the blob.
        """
        if (self._hasher.size, self._hasher.digest()) != (self._size, self._digest):
            raise WrongBytesError(self._digest)
        return Copy(
            digest=self._digest,
            size=self._size,
            allocated=self._incoming.allocated(),
            checksums=self._hasher.checksums(),
            sniffed_type=sniff(self._head),
            hits=0,
            last_used_at=now,
            verified_at=now,
        )
