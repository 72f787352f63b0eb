"""The sources of a daemon that has no store of its own: there is nothing in them.

Turns that are read here end as ones that name what is not held; an edge's are read by its remote.
"""

from collections.abc import Collection, Sequence

from coatcheck.protocol import Digest

from ..errors import BlobUnreadableError, NotKeptError
from ..source import KeptMessage, PieceReader, Resolved


class NoBlobs:
    """A `BlobSource` without blobs."""

    name = "none"

    async def resolve(self, tenant: str, digests: Collection[Digest]) -> dict[Digest, Resolved]:
        """Return none."""
        return {}

    async def find_files(self, tenant: str, file_ids: Collection[str]) -> dict[str, Digest]:
        """Return none."""
        return {}

    async def prepare(self, tenant: str, blobs: Collection[Resolved]) -> Collection[Digest]:
        """Say that all are gone."""
        return [blob.digest for blob in blobs]

    async def open(self, tenant: str, digest: Digest) -> PieceReader:
        """Open nothing.

        Raises:
            BlobUnreadableError: always.
        """
        raise BlobUnreadableError(digest)

    async def claim(
        self, tenant: str, digests: Collection[Digest], end_user: str
    ) -> Collection[Digest]:
        """Return none."""
        return ()

    async def held(self, tenant: str, digests: Collection[Digest]) -> Collection[Digest]:
        """Return none."""
        return ()

    async def absorb(
        self, tenant: str, data: bytes, media_type: str | None, *, end_user: str | None = None
    ) -> Digest:
        """Take nothing.

        Raises:
            NotKeptError: always.
        """
        raise NotKeptError("this daemon has no store")


class NoPrompts:
    """A `PromptSource` without prompts."""

    async def expand(self, tenant: str, dialect: str, digest: Digest) -> list[str] | None:
        """Return none."""
        return None

    async def append(
        self,
        tenant: str,
        dialect: str,
        parent: Digest,
        messages: Sequence[KeptMessage],
        *,
        end_user: str | None = None,
    ) -> None:
        """Keep nothing.

        Raises:
            NotKeptError: always.
        """
        raise NotKeptError("this daemon has no store")
