"""A store on another host, as the cache asks it for bytes."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from coatcheck.client import AsyncBody, BlobNotFoundError, ClientError, Sink, StoreLink
from coatcheck.protocol import Digest

from .availability import Availability
from .cache import Flow
from .errors import BlobUnreadableError, StoreUnavailableError
from .meters import Meters, NoMeters


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
