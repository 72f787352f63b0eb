"""What every backend promises, run against each."""

import asyncio
import errno
import os
import platform
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

from coatcheck.protocol import Digest
from coatcheck.store import (
    Backend,
    DiskBackend,
    Measured,
    MemoryBackend,
    StoreFullError,
    StoreUnavailableError,
    cached_open,
    disk_blob_file,
)

DATA = bytes(range(256)) * 40
DIGEST = Digest.of(DATA)
ABSENT = Digest.of(b"absent")


def nothing() -> None:
    """What is done beside a write that nobody hashes."""


async def put(backend: Backend, data: bytes) -> Digest:
    digest = Digest.of(data)
    spool = backend.spool()
    await spool.reserve(len(data))
    await spool.write([data], nothing)
    await spool.commit(digest)
    return digest


def read(backend: Backend, digest: Digest) -> bytes:
    file = backend.open(digest)
    assert file is not None
    try:
        buffer = bytearray(file.size)
        assert file.read_into(0, memoryview(buffer)) == file.size
        return bytes(buffer)
    finally:
        file.close()


def require_cached_reads(folder: Path) -> None:
    """Skip where the system cannot open and read what is in memory without waiting."""
    probe = folder / "probe"
    probe.write_bytes(b"probe")
    opened = cached_open.CachedOpener(os.O_RDONLY).open(str(probe))
    try:
        if opened is not None and os.preadv(opened, [bytearray(5)], 0, os.RWF_NOWAIT) == 5:
            return
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
    finally:
        if opened is not None:
            os.close(opened)
    pytest.skip(
        "needs Linux 5.12, and temporary files on ext4, xfs or btrfs: another system does not say "
        "what is in memory; set TMPDIR to a folder on one of them"
    )


def drop_cached(path: Path) -> None:
    """Let the system forget a file's bytes, which are on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def descriptors_of(digest: Digest) -> list[int]:
    """Return the descriptors of this process that are open on a blob's file."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [int(link.name) for link in links if digest.hex in os.readlink(link)]


class BackendContract:
    """Subclasses give `backend`, and `narrow` with room for 1,000 bytes."""

    async def test_committed_bytes_are_found(self, backend: Backend) -> None:
        await put(backend, DATA)
        assert read(backend, DIGEST) == DATA

    async def test_what_was_never_put_is_absent(self, backend: Backend) -> None:
        assert backend.open(ABSENT) is None
        backend.quarantine(ABSENT)

    async def test_a_spool_is_not_found_before_its_commit(self, backend: Backend) -> None:
        spool = backend.spool()
        await spool.reserve(len(DATA))
        await spool.write([DATA], nothing)
        assert backend.open(DIGEST) is None
        await spool.discard()
        await spool.discard()
        assert backend.open(DIGEST) is None

    async def test_writes_follow_each_other(self, backend: Backend) -> None:
        spool = backend.spool()
        await spool.reserve(len(DATA))
        for at in range(0, len(DATA), 1000):
            await spool.write([DATA[at : at + 1000]], nothing)
        await spool.commit(DIGEST)
        assert read(backend, DIGEST) == DATA

    async def test_the_rest_is_appended_by_the_commit(self, backend: Backend) -> None:
        spool = backend.spool()
        await spool.write([DATA[:1000], memoryview(DATA)[1000:3000]], nothing)
        await spool.commit(DIGEST, [bytearray(DATA[3000:]), b""])
        assert read(backend, DIGEST) == DATA

    async def test_a_small_upload_is_all_rest(self, backend: Backend) -> None:
        spool = backend.spool()
        await spool.commit(DIGEST, [DATA])
        await spool.discard()
        assert read(backend, DIGEST) == DATA

    async def test_beside_a_write_something_else_is_done_once(self, backend: Backend) -> None:
        done: list[int] = []
        spool = backend.spool()
        await spool.write([DATA], lambda: done.append(threading.get_ident()))
        assert len(done) == 1
        assert done[0] != threading.get_ident()
        await spool.discard()

    async def test_what_was_not_reserved_is_when_it_is_written(self, narrow: Backend) -> None:
        spool = narrow.spool()
        with pytest.raises(StoreFullError):
            await spool.write([bytes(2_000)], nothing)
        with pytest.raises(StoreFullError):
            await spool.commit(DIGEST, [bytes(2_000)])
        await spool.discard()
        assert narrow.open(DIGEST) is None

    async def test_a_second_commit_replaces_and_open_readers_go_on(self, backend: Backend) -> None:
        await put(backend, DATA)
        file = backend.open(DIGEST)
        assert file is not None
        await put(backend, DATA)
        backend.quarantine(DIGEST)
        buffer = bytearray(10)
        assert file.read_into(100, memoryview(buffer)) == 10
        assert bytes(buffer) == DATA[100:110]
        file.close()

    async def test_reads_end_at_the_end(self, backend: Backend) -> None:
        await put(backend, DATA)
        file = backend.open(DIGEST)
        assert file is not None
        buffer = bytearray(100)
        assert file.read_into(len(DATA) - 30, memoryview(buffer)) == 30
        assert bytes(buffer[:30]) == DATA[-30:]
        assert file.read_into(len(DATA), memoryview(buffer)) == 0
        file.close()

    async def test_a_closed_file_cannot_be_read(self, backend: Backend) -> None:
        await put(backend, DATA)
        file = backend.open(DIGEST)
        assert file is not None
        file.close()
        file.close()
        with pytest.raises(StoreUnavailableError):
            file.read_into(0, memoryview(bytearray(1)))

    async def test_now_means_the_same_bytes_or_fewer(self, backend: Backend) -> None:
        await put(backend, DATA)
        assert backend.open_now(ABSENT) is None
        for offset in (0, 100, len(DATA)):
            file = backend.open_now(DIGEST) or backend.open(DIGEST)
            assert file is not None
            assert file.size == len(DATA)
            buffer = bytearray(100)
            count = file.read_now(offset, memoryview(buffer))
            assert bytes(buffer[:count]) == DATA[offset : offset + count]
            file.close()
            assert file.read_now(offset, memoryview(buffer)) == 0
        backend.quarantine(DIGEST)
        assert backend.open_now(DIGEST) is None

    async def test_quarantined_bytes_are_absent_until_put_again(self, backend: Backend) -> None:
        await put(backend, DATA)
        assert not backend.has_quarantined(DIGEST)
        backend.quarantine(DIGEST)
        assert backend.has_quarantined(DIGEST)
        assert backend.open(DIGEST) is None
        await put(backend, DATA)
        assert read(backend, DIGEST) == DATA

    async def test_a_reservation_that_does_not_fit_is_refused(self, narrow: Backend) -> None:
        spool = narrow.spool()
        with pytest.raises(StoreFullError):
            await spool.reserve(1_000_000)
        await spool.reserve(600)
        other = narrow.spool()
        with pytest.raises(StoreFullError):
            await other.reserve(600)
        await spool.discard()
        await other.reserve(600)
        await other.discard()

    async def test_free_bytes_count_reservations_off(self, narrow: Backend) -> None:
        assert isinstance(narrow, Measured)
        before = narrow.free_bytes()
        spool = narrow.spool()
        await spool.reserve(600)
        within = narrow.free_bytes()
        await spool.discard()
        after = narrow.free_bytes()
        assert within <= before - 600 < after

    async def test_close_twice(self, backend: Backend) -> None:
        backend.close()
        backend.close()


class TestMemoryBackend(BackendContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return MemoryBackend()

    @pytest.fixture
    def narrow(self) -> Backend:
        return MemoryBackend(capacity_bytes=1_000)

    async def test_what_was_spooled_is_kept_without_a_copy(self, backend: Backend) -> None:
        spool = backend.spool()
        tracemalloc.start()
        try:
            await spool.write([bytes(1_000_000)], nothing)
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            await spool.commit(DIGEST)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak - before < 100_000


class TestDiskBackend(BackendContract):
    @pytest.fixture
    def at(self, tmp_path: Path) -> Iterator[Callable[[int], DiskBackend]]:
        executor = ThreadPoolExecutor(2)
        opened: list[DiskBackend] = []

        def open_at(min_free_bytes: int) -> DiskBackend:
            backend = DiskBackend.at(
                tmp_path, min_free_bytes=min_free_bytes, random=os.urandom, executor=executor
            )
            opened.append(backend)
            return backend

        yield open_at
        for backend in opened:
            backend.close()
        executor.shutdown()

    @pytest.fixture
    def backend(self, at: Callable[[int], DiskBackend]) -> Backend:
        return at(0)

    @pytest.fixture
    def narrow(
        self, at: Callable[[int], DiskBackend], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> Backend:
        real = os.statvfs(tmp_path)
        values = list(real)
        values[0] = values[1] = 1  # block sizes
        values[4] = 11_000  # blocks available
        monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(values))  # pyright: ignore
        return at(10_000)

    async def test_one_plain_file_named_by_all_digits(
        self, backend: Backend, tmp_path: Path
    ) -> None:
        await put(backend, DATA)
        path = tmp_path / "blobs" / "sha256" / DIGEST.hex[:2] / DIGEST.hex
        assert path.read_bytes() == DATA

    async def test_no_temporary_stays_after_commit_and_discard(
        self, backend: Backend, tmp_path: Path
    ) -> None:
        await put(backend, DATA)
        spool = backend.spool()
        await spool.write([DATA], nothing)
        await spool.discard()
        assert [path.name for path in (tmp_path / "spool").rglob("*.part")] == []

    @pytest.mark.parametrize("replacement", ["folder", "link", "fifo"])
    async def test_what_is_no_plain_file_is_absent(
        self, backend: Backend, tmp_path: Path, replacement: str
    ) -> None:
        await put(backend, DATA)
        path = tmp_path / "blobs" / "sha256" / DIGEST.hex[:2] / DIGEST.hex
        path.unlink()
        if replacement == "folder":
            path.mkdir()
        elif replacement == "link":
            path.symlink_to("/etc/hostname")
        else:
            os.mkfifo(path)
        assert backend.open(DIGEST) is None
        assert backend.open_now(DIGEST) is None
        backend.quarantine(DIGEST)
        await put(backend, DATA)
        assert read(backend, DIGEST) == DATA

    @pytest.mark.parametrize(
        ("module", "name", "value"),
        [
            (platform, "system", lambda: "Darwin"),
            (cached_open, "_SYS_OPENAT2", 100_000),  # no call of any kernel
        ],
    )
    async def test_where_opening_may_wait_nothing_is_open_now(
        self,
        at: Callable[[int], DiskBackend],
        monkeypatch: pytest.MonkeyPatch,
        module: ModuleType,
        name: str,
        value: object,
    ) -> None:
        monkeypatch.setattr(module, name, value)
        backend = at(0)
        await put(backend, DATA)
        assert backend.open_now(DIGEST) is None
        assert read(backend, DIGEST) == DATA

    async def test_where_reading_may_wait_nothing_is_read_now(
        self, backend: Backend, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await put(backend, DATA)
        file = backend.open(DIGEST)
        assert file is not None
        buffer = memoryview(bytearray(10))

        def refused(descriptor: int, buffers: list[memoryview], offset: int, flags: int) -> int:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")

        with monkeypatch.context() as patch:
            patch.setattr(os, "preadv", refused)
            assert file.read_now(0, buffer) == 0
        with monkeypatch.context() as patch:
            patch.setattr(disk_blob_file, "_NOWAIT", None)  # as where Python has no such flag
            assert file.read_now(0, buffer) == 0
        file.close()

    async def test_what_the_disk_alone_has_is_not_there_now(
        self, backend: Backend, tmp_path: Path
    ) -> None:
        require_cached_reads(tmp_path)
        await put(backend, DATA)
        file = backend.open_now(DIGEST)
        assert file is not None
        buffer = bytearray(len(DATA))
        assert file.read_now(0, memoryview(buffer)) == len(DATA)
        assert bytes(buffer) == DATA
        drop_cached(tmp_path / "blobs" / "sha256" / DIGEST.hex[:2] / DIGEST.hex)
        assert file.read_now(0, memoryview(buffer)) == 0
        assert file.read_into(0, memoryview(buffer)) == len(DATA)
        file.close()

    async def test_a_file_that_is_open_now_is_not_for_children(
        self, backend: Backend, tmp_path: Path
    ) -> None:
        require_cached_reads(tmp_path)
        await put(backend, DATA)
        file = backend.open_now(DIGEST)
        assert file is not None
        assert [os.get_inheritable(number) for number in descriptors_of(DIGEST)] == [False]
        file.close()
        assert descriptors_of(DIGEST) == []

    async def test_a_failed_fsync_is_fatal_and_not_repeated(
        self, backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[int] = []

        def failing(descriptor: int) -> None:
            calls.append(descriptor)
            raise OSError(errno.EIO, "Input/output error")

        spool = backend.spool()
        await spool.write([DATA], nothing)
        monkeypatch.setattr(os, "fsync", failing)
        with pytest.raises(StoreUnavailableError):
            await spool.commit(DIGEST)
        await spool.discard()
        assert len(calls) == 1
        assert backend.open(DIGEST) is None
        assert list((tmp_path / "spool").rglob("*.part")) == []

    async def test_commit_syncs_the_file_before_its_name_and_the_folder_after(
        self, backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shard = tmp_path / "blobs" / "sha256" / DIGEST.hex[:2]
        seen: list[tuple[str, bool]] = []
        fsync = os.fsync

        def watching(descriptor: int) -> None:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
            seen.append((Path(target).name, (shard / DIGEST.hex).exists()))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", watching)
        await put(backend, DATA)
        assert seen == [("1.part", False), (shard.name, True)]

    async def test_opening_syncs_the_names_of_folders_that_are_there(
        self, at: Callable[[int], DiskBackend], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever made them may have died before it came to that."""
        at(0).close()
        synced: list[str] = []
        fsync = os.fsync

        def watching(descriptor: int) -> None:
            synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", watching)
        at(0)
        assert {"blobs", "sha256"} <= set(synced)

    async def test_discard_while_a_cancelled_write_runs(
        self, backend: Backend, tmp_path: Path
    ) -> None:
        spool = backend.spool()
        writing = asyncio.create_task(spool.write([bytes(32 * 1024 * 1024)], nothing))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        await spool.discard()
        assert list((tmp_path / "spool").rglob("*.part")) == []

    async def test_a_write_that_its_discard_overtook_is_not_made(self, tmp_path: Path) -> None:
        """A cancelled call may wait for its thread still when the next one has had its turn."""
        with ThreadPoolExecutor(1) as executor:
            backend = DiskBackend.at(
                tmp_path, min_free_bytes=0, random=os.urandom, executor=executor
            )
            spool = backend.spool()
            await spool.discard()
            await spool.reserve(1_000_000)
            await spool.discard()
            with pytest.raises(StoreUnavailableError):
                await spool.write([DATA], nothing)
            assert list((tmp_path / "spool").rglob("*.part")) == []
            backend.close()

    async def test_opening_clears_the_spools_of_dead_owners_only(
        self, at: Callable[[int], DiskBackend], tmp_path: Path
    ) -> None:
        living = at(0)
        spool = living.spool()
        await spool.write([DATA], nothing)
        dead = tmp_path / "spool" / "dead"
        dead.mkdir()
        (dead / "1.part").write_bytes(DATA)
        at(0)
        assert not dead.exists()
        await spool.commit(DIGEST)
        assert read(living, DIGEST) == DATA

    async def test_quarantined_bytes_are_kept_aside(self, backend: Backend, tmp_path: Path) -> None:
        await put(backend, DATA)
        backend.quarantine(DIGEST)
        assert (tmp_path / "quarantine" / DIGEST.hex).read_bytes() == DATA
