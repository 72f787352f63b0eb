"""What the sender of a blob says of it beforehand, and what becomes of one that is not that."""

from dataclasses import dataclass

from coatcheck.protocol import Digest

from .errors import DigestMismatchError, EmptyBlobError, SizeMismatchError
from .index_rows import NewBlob


@dataclass(frozen=True, slots=True)
class Promise:
    """What the sender said of the body beforehand."""

    declared_type: str | None = None
    digest: Digest | None = None
    size: int | None = None
    end_user: str | None = None
    """Whom it is uploaded for."""

    def check(self, blob: NewBlob) -> None:
        """Return when the blob is what was promised.

        Raises:
            SizeMismatchError, DigestMismatchError: it is another one.
            EmptyBlobError: it is none.
        """
        if self.size is not None and blob.size != self.size:
            raise SizeMismatchError(self.size, blob.size)
        if blob.size == 0:
            raise EmptyBlobError
        if self.digest is not None and blob.digest != self.digest:
            raise DigestMismatchError(self.digest, blob.digest)
