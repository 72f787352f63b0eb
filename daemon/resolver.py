"""The resolver: from digests to verified bytes, with a note of each use."""

from collections.abc import Callable, Collection

from coatcheck.protocol import Digest

from .inventory import CacheView
from .source import BlobSource, FiledReader, HeldFile, PieceReader, Resolved
from .whole_read import WholeRead


class Resolver:
    """Resolves for one tenant at a time; the source checks grants and verifies bytes."""

    def __init__(
        self, source: BlobSource, inventory: CacheView, clock: Callable[[], float]
    ) -> None:
        self._source = source
        self._inventory = inventory
        self._clock = clock

    async def resolve(self, tenant: str, digests: Collection[Digest]) -> dict[Digest, Resolved]:
        """Return those of `digests` that the tenant holds, ready to be opened.

        Raises:
            StoreUnavailableError: the source cannot say, or cannot give.
            StoreRefusedError, WrongBytesError: it does not, or gives others.
        """
        if not digests:
            return {}
        resolved = await self._source.resolve(tenant, digests)
        for gone in await self._source.prepare(tenant, resolved.values()):
            del resolved[gone]
        self._inventory.record_use(resolved.values(), self._clock())
        return resolved

    async def find_files(self, tenant: str, file_ids: Collection[str]) -> dict[str, Digest]:
        """Return what those of the file ids name that the tenant has.

        Raises:
            StoreUnavailableError: the source cannot say.
        """
        return await self._source.find_files(tenant, file_ids) if file_ids else {}

    async def open(self, tenant: str, digest: Digest) -> PieceReader:
        """Open a blob; reading it to the end is noted as a verification.

        Raises:
            BlobUnreadableError: it is not held any more.
        """
        return _NotedReader(await self._source.open(tenant, digest), digest, self)

    def note_verified(self, digest: Digest) -> None:
        """Note that all pieces of a blob were read and verified."""
        self._inventory.record_verified(digest, self._clock())


class _NotedReader:
    """A reader that tells the resolver when the last piece was verified, in order from the first."""

    def __init__(self, reader: PieceReader, digest: Digest, resolver: Resolver) -> None:
        self._reader = reader
        self._digest = digest
        self._resolver = resolver
        self._whole = WholeRead(reader.size)

    @property
    def size(self) -> int:
        return self._reader.size

    def hold(self) -> HeldFile | None:
        return self._reader.hold() if isinstance(self._reader, FiledReader) else None

    async def read_piece(self, index: int) -> memoryview:
        view = await self._reader.read_piece(index)
        if self._whole.note(index):
            self._resolver.note_verified(self._digest)
        return view

    async def close(self) -> None:
        await self._reader.close()
