"""Blobs whose checksums cannot be believed, because their seed is unknown: the digest decides."""

from dataclasses import dataclass

from coatcheck.protocol import PIECE_BYTES, Digest, Hasher

from .backend import Backend


@dataclass(frozen=True, slots=True)
class Rechecked:
    """What a blob's bytes are now."""

    digest: Digest
    size: int
    checksums: bytes


def recheck(backend: Backend, digest: Digest, seed: int) -> Rechecked | None:
    """Hashes all of a blob, a piece at a time; `None` when its bytes are gone. Blocking, long.

    Raises:
        StoreUnavailableError: the bytes cannot be read.
    """
    file = backend.open(digest)
    if file is None:
        return None
    try:
        hasher = Hasher(seed)
        buffer = memoryview(bytearray(min(file.size, PIECE_BYTES)))
        while count := file.read_into(hasher.size, buffer):
            hasher.update(buffer[:count])
    finally:
        file.close()
    return Rechecked(hasher.digest(), hasher.size, hasher.checksums())
