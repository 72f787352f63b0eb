"""A disk cache over a store that does what a test says."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from coatcheck.client import Sink
from coatcheck.daemon.cache import CacheConfig, DiskCache
from coatcheck.daemon.errors import BlobUnreadableError
from coatcheck.daemon.source import PieceReader
from coatcheck.protocol import Digest, piece_count

MIB = 1024 * 1024


@dataclass
class Flow:
    """Bytes in two parts."""

    parts: list[bytes]

    async def read(self) -> bytes:
        return self.parts.pop(0) if self.parts else b""

    def close(self) -> None:
        self.parts.clear()


@dataclass
class FakeOrigin:
    """An `Origin` in memory. `lies` are sent in place of a blob, the last of them for ever."""

    blobs: dict[Digest, bytes] = field(default_factory=dict[Digest, bytes])
    lies: dict[Digest, list[bytes]] = field(default_factory=dict[Digest, list[bytes]])
    asked: list[tuple[str, Digest]] = field(default_factory=list[tuple[str, Digest]])
    strangers: set[str] = field(default_factory=set[str])
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    streams: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    def add(self, data: bytes) -> Digest:
        digest = Digest.of(data)
        self.blobs[digest] = data
        return digest

    async def fetch(self, tenant: str, digest: Digest, sink: Sink) -> None:
        data = await self._data(tenant, digest)
        await asyncio.to_thread(sink.begin, len(data))
        await asyncio.to_thread(sink.write, data[: len(data) // 2])
        self.begun.set()
        try:
            await self.gate.wait()
            await asyncio.to_thread(sink.write, data[len(data) // 2 :])
        finally:
            self.ended.set()

    async def open(self, tenant: str, digest: Digest) -> Flow:
        data = await self._data(tenant, digest)
        self.streams += 1
        return Flow([data[: len(data) // 2], data[len(data) // 2 :]])

    async def _data(self, tenant: str, digest: Digest) -> bytes:
        self.asked.append((tenant, digest))
        if tenant in self.strangers or digest not in self.blobs:
            self.begun.set()
            await self.gate.wait()
            raise BlobUnreadableError(digest)
        lies = self.lies.get(digest, [])
        if len(lies) > 1:
            return lies.pop(0)
        return lies[0] if lies else self.blobs[digest]


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


OpenCache = Callable[..., Awaitable[DiskCache]]


@pytest.fixture
def origin() -> FakeOrigin:
    return FakeOrigin()


@pytest.fixture
async def open_cache(tmp_path: Path, origin: FakeOrigin) -> AsyncIterator[OpenCache]:
    """Open a cache in the test's folder; closed at the end."""
    opened: list[DiskCache] = []
    clock = Clock()

    async def start(max_bytes: int = 100 * MIB, **limits: int) -> DiskCache:
        config = CacheConfig(tmp_path / "cache", max_bytes=max_bytes, min_free_bytes=0, **limits)
        cache = await DiskCache.open(config, origin, clock=clock)
        opened.append(cache)
        return cache

    yield start
    for cache in opened:
        await cache.close()


async def read_all(reader: PieceReader) -> bytes:
    """Read a blob and close it."""
    try:
        return b"".join(
            [bytes(await reader.read_piece(index)) for index in range(piece_count(reader.size))]
        )
    finally:
        await reader.close()


async def get(cache: DiskCache, digest: Digest, size: int, tenant: str = "a") -> bytes:
    """Read a blob through the cache."""
    return await read_all(await cache.open_blob(tenant, digest, size))


def taken(folder: Path) -> int:
    """Return what a folder's files take, as the file system counts it."""
    paths = [Path(root, name) for root, _, names in os.walk(folder) for name in names]
    return sum(path.stat().st_blocks * 512 for path in paths)
