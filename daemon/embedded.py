"""The store in this process, behind the daemon's interfaces."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from coatcheck.protocol import Digest
from coatcheck.store import BlobNotFoundError, BlobReader, PromptMessage, Store, StoreError

from .errors import BlobUnreadableError, NotKeptError, StoreUnavailableError
from .source import HeldFile, KeptMessage, PieceReader, Resolved


class EmbeddedBlobs:
    """A `BlobSource` over a store that somebody else owns and closes."""

    name = "store"

    def __init__(self, store: Store) -> None:
        self._store = store

    async def resolve(self, tenant: str, digests: Collection[Digest]) -> dict[Digest, Resolved]:
        """Return those that the tenant holds; see `BlobSource.resolve`."""
        try:
            grants = await self._store.stat_many(tenant, list(digests))
        except StoreError as error:
            raise StoreUnavailableError(str(error)) from error
        return {
            digest: Resolved(digest, grant.size, grant.sniffed_type or grant.media_type)
            for digest, grant in grants.items()
        }

    async def find_files(self, tenant: str, file_ids: Collection[str]) -> dict[str, Digest]:
        """Return what files name; see `BlobSource.find_files`."""
        try:
            files = await self._store.files.find_many(tenant, file_ids)
        except StoreError as error:
            raise StoreUnavailableError(str(error)) from error
        return {file_id: file.grant.digest for file_id, file in files.items()}

    async def prepare(self, tenant: str, blobs: Collection[Resolved]) -> Collection[Digest]:
        """Do nothing: the store beside us needs no second copy."""
        return ()

    async def open(self, tenant: str, digest: Digest) -> PieceReader:
        """Open a blob, which was resolved and has its lease since; see `BlobSource.open`."""
        try:
            return _Reader(await self._store.open_blob(tenant, digest, renew=False), digest)
        except BlobNotFoundError as error:
            raise BlobUnreadableError(digest) from error
        except StoreError as error:
            raise StoreUnavailableError(str(error)) from error

    async def claim(
        self, tenant: str, digests: Collection[Digest], end_user: str
    ) -> Collection[Digest]:
        """Return those that the tenant holds; see `BlobSource.claim`."""
        try:
            answer = await self._store.missing(tenant, list(digests), end_user=end_user)
        except StoreError as error:
            raise StoreUnavailableError(str(error)) from error
        return set(digests) - set(answer.missing)

    async def held(self, tenant: str, digests: Collection[Digest]) -> Collection[Digest]:
        """Return those that the tenant holds; see `BlobSource.held`."""
        try:
            return await self._store.stat_many(tenant, list(digests), renew=False)
        except StoreError as error:
            raise StoreUnavailableError(str(error)) from error

    async def absorb(
        self, tenant: str, data: bytes, media_type: str | None, *, end_user: str | None = None
    ) -> Digest:
        """Take bytes in through the store's one way; see `BlobSource.absorb`."""
        try:
            receipt = await self._store.receive(
                tenant,
                _once(data),
                declared_type=media_type,
                expected_size=len(data),
                end_user=end_user,
            )
        except StoreError as error:
            raise _not_kept(error) from error
        return receipt.grant.digest


class EmbeddedPrompts:
    """A `PromptSource` over the same store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def expand(self, tenant: str, dialect: str, digest: Digest) -> list[str] | None:
        """Return the texts of a kept list; see `PromptSource.expand`."""
        try:
            return await self._store.prompts.expand(tenant, dialect, digest)
        except StoreError as error:
            raise StoreUnavailableError(str(error)) from error

    async def append(
        self,
        tenant: str,
        dialect: str,
        parent: Digest,
        messages: Sequence[KeptMessage],
        *,
        end_user: str | None = None,
    ) -> None:
        """Keep messages; see `PromptSource.append`."""
        kept = [PromptMessage(item.digest, item.text, item.blobs) for item in messages]
        try:
            await self._store.prompts.append(tenant, dialect, parent, kept, end_user=end_user)
        except StoreError as error:
            raise _not_kept(error) from error


class _Reader:
    def __init__(self, reader: BlobReader, digest: Digest) -> None:
        self._reader = reader
        self._digest = digest

    @property
    def size(self) -> int:
        return self._reader.size

    def hold(self) -> HeldFile | None:
        path = self._reader.path
        return None if path is None else _StoreFile(path)

    async def read_piece(self, index: int) -> memoryview:
        try:
            return await self._reader.read_piece(index)
        except BlobNotFoundError as error:
            raise BlobUnreadableError(self._digest) from error
        except StoreError as error:
            raise StoreUnavailableError(str(error)) from error

    async def close(self) -> None:
        await self._reader.close()


@dataclass(frozen=True, slots=True)
class _StoreFile:
    """A blob's file in the store, which stays for as long as a tenant holds the blob."""

    path: Path

    def close(self) -> None:
        pass


def _not_kept(error: StoreError) -> NotKeptError | StoreUnavailableError:
    return StoreUnavailableError(str(error)) if error.retryable else NotKeptError(str(error))


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
