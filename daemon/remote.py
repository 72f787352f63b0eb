"""A store on another host, behind the daemon's interfaces.

Grants are the store's to say, and are asked for in each turn, remembered for half a minute. Bytes
come from the cache, and into it from the store, once. While the store is away, what it said within
the last hour goes on being true, and what it did not say is not known: 503.
"""

import asyncio
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager

from coatcheck.client import (
    AsyncBody,
    BlobNotFoundError,
    ClientError,
    DigestMismatchError,
    PromptNotFoundError,
    ServerError,
    Sink,
    StoreLink,
)
from coatcheck.protocol import MAX_DIGESTS, Digest, PromptStep, ResolvedBlob, prompt_appends

from .availability import Availability
from .cache import DiskCache, Flow
from .errors import BlobUnreadableError, DaemonError, NotKeptError, StoreUnavailableError
from .meters import Meters, NoMeters
from .prompt_memory import PromptMemory
from .prompt_outbox import Parcel, PromptKey, PromptOutbox
from .remembered import FRESH_SECONDS, STALE_SECONDS, Remembered
from .source import KeptMessage, PieceReader, Resolved

_STAYS_REFUSED = frozenset({400, 404, 413, 422, 507})


class RemoteOrigin:
    """A store as the cache asks it. The link belongs to somebody else."""

    def __init__(
        self, link: StoreLink, availability: Availability, meters: Meters | None = None
    ) -> None:
        self._link = link
        self._availability = availability
        self._meters = meters or NoMeters()

    async def fetch(self, tenant: str, digest: Digest, sink: Sink) -> None:
        """Stream a blob into a sink; see `Origin.fetch`."""
        body = await self._open(tenant, digest)
        try:
            with _unbroken():
                await body.pour(_CountingSink(sink, self._count))
        finally:
            body.close()

    async def open(self, tenant: str, digest: Digest) -> Flow:
        """Open a blob to be read as it comes; see `Origin.open`."""
        return _Flow(await self._open(tenant, digest), self._count)

    async def _open(self, tenant: str, digest: Digest) -> AsyncBody:
        async with self._availability.asking():
            try:
                return await self._link.open(tenant, digest)
            except BlobNotFoundError as error:
                raise BlobUnreadableError(digest) from error

    def _count(self, size: int) -> None:
        self._meters.store_bytes(received=size)


class _Flow:
    def __init__(self, body: AsyncBody, count: Callable[[int], None]) -> None:
        self._body = body
        self._count = count

    async def read(self) -> bytes:
        with _unbroken():
            data = await self._body.read()
        self._count(len(data))
        return data

    def close(self) -> None:
        self._body.close()


class _CountingSink:
    """A sink that also counts what comes, whether or not it is taken in the end."""

    def __init__(self, sink: Sink, count: Callable[[int], None]) -> None:
        self.begin = sink.begin
        self.write = sink.write
        self._sink = sink
        self._count = count

    def received(self, count: int) -> None:
        self._count(count)
        self._sink.received(count)


@contextmanager
def _unbroken() -> Generator[None]:
    """Surround reading an answer that has begun. That it breaks off says nothing of the next one."""
    try:
        yield
    except ClientError as error:
        raise StoreUnavailableError(f"the store's answer broke off: {error}") from error


class RemoteBlobs:
    """A `BlobSource` over a link and a cache that somebody else owns and closes."""

    name = "disk"

    def __init__(
        self,
        link: StoreLink,
        cache: DiskCache,
        availability: Availability,
        clock: Callable[[], float],
        meters: Meters | None = None,
    ) -> None:
        """`clock` gives Unix seconds."""
        self._link = link
        self._cache = cache
        self._meters = meters or NoMeters()
        self._availability = availability
        self._clock = clock
        self._grants: Remembered[tuple[str, Digest], ResolvedBlob] = Remembered()
        self._files: Remembered[tuple[str, str], Digest] = Remembered()

    async def resolve(self, tenant: str, digests: Collection[Digest]) -> dict[Digest, Resolved]:
        """Return those that the tenant holds; see `BlobSource.resolve`."""
        held = await self.describe(tenant, digests)
        return {
            digest: Resolved(digest, blob.size, blob.sniffed_type or blob.media_type)
            for digest, blob in held.items()
        }

    async def describe(
        self, tenant: str, digests: Collection[Digest], *, is_use: bool = True
    ) -> dict[Digest, ResolvedBlob]:
        """Return what the store says of those that the tenant holds; a use renews leases.

        Raises:
            StoreUnavailableError: the store is away, and did not speak of all of them lately.
        """
        now = self._clock()
        held: dict[Digest, ResolvedBlob] = {}
        for digest in dict.fromkeys(digests):
            if (blob := self._grants.get((tenant, digest), now)) is not None:
                held[digest] = blob
        unknown = [digest for digest in dict.fromkeys(digests) if digest not in held]
        if unknown:
            held |= await self._ask(tenant, unknown, now, is_use=is_use)
        return held

    async def find_files(self, tenant: str, file_ids: Collection[str]) -> dict[str, Digest]:
        """Return what files name; see `BlobSource.find_files`."""
        now = self._clock()
        found: dict[str, Digest] = {}
        for file_id in dict.fromkeys(file_ids):
            if (digest := self._files.get((tenant, file_id), now)) is not None:
                found[file_id] = digest
        unknown = [file_id for file_id in dict.fromkeys(file_ids) if file_id not in found]
        return found | (await self._ask_files(tenant, unknown, now) if unknown else {})

    async def prepare(self, tenant: str, blobs: Collection[Resolved]) -> set[Digest]:
        """Fetch what is not here; see `BlobSource.prepare`."""
        gone = await self._cache.prepare(tenant, [(blob.digest, blob.size) for blob in blobs])
        for digest in gone:
            self._grants.forget((tenant, digest))
        return gone

    async def open(self, tenant: str, digest: Digest) -> PieceReader:
        """Open a blob, from its first piece on; see `BlobSource.open`."""
        return await self.open_at(tenant, digest, 0)

    async def open_at(self, tenant: str, digest: Digest, first_piece: int) -> PieceReader:
        """Open a blob with this piece verified already; see `BlobSource.open`."""
        blob = (await self.describe(tenant, [digest])).get(digest)
        if blob is None:
            raise BlobUnreadableError(digest)
        try:
            return await self._cache.open_blob(tenant, digest, blob.size, first_piece=first_piece)
        except BlobUnreadableError:
            self._grants.forget((tenant, digest))
            raise

    async def claim(
        self, tenant: str, digests: Collection[Digest], end_user: str
    ) -> Collection[Digest]:
        """Return those that the tenant holds; see `BlobSource.claim`."""
        async with self._availability.asking():
            missing = await self._link.missing(tenant, list(digests), end_user)
        return set(digests) - set(missing)

    async def held(self, tenant: str, digests: Collection[Digest]) -> Collection[Digest]:
        """Return those that the tenant holds; see `BlobSource.held`."""
        return await self.describe(tenant, digests, is_use=False)

    async def absorb(
        self, tenant: str, data: bytes, media_type: str | None, *, end_user: str | None = None
    ) -> Digest:
        """Hand bytes on to the store, and keep a copy; see `BlobSource.absorb`."""
        digest = await asyncio.to_thread(Digest.of, data)
        async with self._availability.asking():
            try:
                await self._link.upload(tenant, data, digest, media_type, end_user=end_user)
            except (ServerError, DigestMismatchError) as error:
                raise not_kept(error) from error
        self._meters.store_bytes(sent=len(data))
        self._grants.forget((tenant, digest))  # its media type may be another now
        await self._cache.put(digest, data)
        return digest

    def released(self, tenant: str, digest: Digest) -> None:
        """Learn that the tenant dropped a blob: the store is asked the next time."""
        self._grants.forget((tenant, digest))

    def file_released(self, tenant: str, file_id: str) -> None:
        """Learn that the tenant ended a file: the store is asked the next time."""
        self._files.forget((tenant, file_id))

    async def _ask(
        self, tenant: str, digests: Sequence[Digest], now: float, *, is_use: bool
    ) -> dict[Digest, ResolvedBlob]:
        tickets = {digest: self._grants.ticket((tenant, digest)) for digest in digests}
        try:
            async with self._availability.asking():
                answer = await self._link.resolve(tenant, digests, is_use=is_use)
        except StoreUnavailableError as error:
            return self._recall(tenant, digests, now, error)
        wanted = set(digests)
        held = {blob.digest: blob for blob in answer.blobs if blob.digest in wanted}
        if is_use:  # an answer without a use must not keep the next use from renewing the lease
            for digest, blob in held.items():
                self._grants.put((tenant, digest), blob, now, tickets[digest])
        return held

    async def _ask_files(
        self, tenant: str, file_ids: Sequence[str], now: float
    ) -> dict[str, Digest]:
        tickets = {file_id: self._files.ticket((tenant, file_id)) for file_id in file_ids}
        try:
            async with self._availability.asking():
                answer = await self._link.resolve(tenant, [], file_ids)
        except StoreUnavailableError as error:
            return self._recall_files(tenant, file_ids, now, error)
        found: dict[str, Digest] = {}
        for blob in answer.blobs:
            if blob.file_id in tickets:
                found[blob.file_id] = blob.digest
                self._files.put((tenant, blob.file_id), blob.digest, now, tickets[blob.file_id])
        return found

    def _recall_files(
        self, tenant: str, file_ids: Sequence[str], now: float, reason: StoreUnavailableError
    ) -> dict[str, Digest]:
        found: dict[str, Digest] = {}
        for file_id in file_ids:
            digest = self._files.get((tenant, file_id), now, max_age_seconds=STALE_SECONDS)
            if digest is None:
                raise StoreUnavailableError(
                    f"{reason}; {file_id} is not known here; try again"
                ) from reason
            found[file_id] = digest
        return found

    def _recall(
        self, tenant: str, digests: Sequence[Digest], now: float, reason: StoreUnavailableError
    ) -> dict[Digest, ResolvedBlob]:
        """Return what the store said within the hour, when that is all of it."""
        held: dict[Digest, ResolvedBlob] = {}
        for digest in digests:
            blob = self._grants.get((tenant, digest), now, max_age_seconds=STALE_SECONDS)
            if blob is None:
                raise StoreUnavailableError(
                    f"{reason}; {digest} is not known here; try again"
                ) from reason
            held[digest] = blob
        return held


class RemotePrompts:
    """A `PromptSource` over the same link. Close it before that."""

    def __init__(
        self, link: StoreLink, availability: Availability, clock: Callable[[], float]
    ) -> None:
        self._link = link
        self._availability = availability
        self._clock = clock
        self._memory = PromptMemory()
        self._outbox = PromptOutbox(self._bring)

    async def expand(self, tenant: str, dialect: str, digest: Digest) -> list[str] | None:
        """Return the texts of a kept list; see `PromptSource.expand`."""
        now = self._clock()
        is_on_the_way = self._outbox.has(PromptKey(tenant, dialect, digest))
        age = STALE_SECONDS if is_on_the_way else FRESH_SECONDS
        known = self._memory.get(tenant, dialect, digest, now, max_age_seconds=age)
        if known is not None:
            return known
        known = self._memory.get(tenant, dialect, digest, now, max_age_seconds=STALE_SECONDS)
        try:
            texts = await self._ask(tenant, dialect, digest, known)
        except StoreUnavailableError:
            if known is None:
                raise
            return known
        if texts is not None:
            self._memory.put_list(tenant, dialect, digest, texts, now)
        return texts

    async def _ask(
        self, tenant: str, dialect: str, digest: Digest, known: list[str] | None
    ) -> list[str] | None:
        """Return what the store keeps; messages that are known do not come again."""
        async with self._availability.asking():
            if known is None:
                return await self._link.expand(tenant, dialect, digest)
            return known if await self._link.has_prompt(tenant, dialect, digest) else None

    async def append(
        self,
        tenant: str,
        dialect: str,
        parent: Digest,
        messages: Sequence[KeptMessage],
        *,
        end_user: str | None = None,
    ) -> None:
        """Keep messages, here at first where the store is away; see `PromptSource.append`."""
        if not messages:
            return
        if any(len(message.blobs) > MAX_DIGESTS for message in messages):
            raise NotKeptError(f"a message names more than {MAX_DIGESTS} blobs")
        key = PromptKey(tenant, dialect, parent)
        await self._outbox.put(Parcel(key, messages, end_user))
        self._memory.put_messages(tenant, dialect, parent, messages, self._clock())

    async def flush(self) -> None:
        """Return when what was appended before is with the store, or lost."""
        await self._outbox.flush()

    async def close(self) -> None:
        """Bring what is on its way, for a short time. May be called twice."""
        await self._outbox.close()

    async def _bring(self, parcel: Parcel) -> None:
        """Hand messages over to the store."""
        tenant, dialect, parent = parcel.parent.tenant, parcel.parent.dialect, parcel.parent.digest
        steps = [
            PromptStep(digest=message.digest, text=message.text, blobs=message.blobs)
            for message in parcel.messages
        ]
        async with self._availability.asking():
            try:
                for wanted in prompt_appends(dialect, parent, steps):
                    await self._link.append(tenant, wanted, end_user=parcel.end_user)
            except (PromptNotFoundError, ServerError, DigestMismatchError) as error:
                raise not_kept(error) from error


def not_kept(error: ClientError) -> DaemonError | ClientError:
    """Return what a refusal means; what may pass, or is the daemon's own fault, stays as it is."""
    if isinstance(error, ServerError) and error.status not in _STAYS_REFUSED:
        return error
    return NotKeptError(str(error))
