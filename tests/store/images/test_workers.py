"""Worker processes: whatever an image or anybody does to one costs a single request."""

import asyncio
import os
import select
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import psutil
import pytest

from coatcheck.store import (
    Glance,
    ImageRefusal,
    ImageRefusedError,
    ImageWorkerConfig,
    ImageWorkerCrashedError,
    ImageWorkerLostError,
    ImageWorkers,
    ImageWorkersBusyError,
    StoreClosedError,
    VariantSpec,
)
from coatcheck.store.images.process import WorkerProcess
from coatcheck.store.images.wire import Question

from ...image_files import BAD, SOUND, drawn, png, saved, slow_jpeg

Run = Callable[..., ImageWorkers]
SMALL = saved(drawn(), "PNG")


async def whole(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def look(workers: ImageWorkers, data: bytes = SMALL) -> Glance:
    return await workers.glance(whole(data), len(data))


class Held:
    """An image of which half has gone to a worker when `begun` is set; the rest waits for `go`."""

    def __init__(self, data: bytes = SMALL) -> None:
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self._data = data

    async def pieces(self) -> AsyncIterator[bytes]:
        yield self._data[:20]
        self.begun.set()
        await self.go.wait()
        yield self._data[20:]

    def look(self, workers: ImageWorkers) -> asyncio.Task[Glance]:
        return asyncio.create_task(workers.glance(self.pieces(), len(self._data)))


async def gone(pid: int) -> None:
    """Return when a process has ended, at most 20 seconds later."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = await asyncio.to_thread(select.select, [descriptor], [], [], 20)
        assert ready, f"{pid} goes on"
    finally:
        os.close(descriptor)


async def test_nothing_runs_until_it_is_needed_nor_after_the_end(run_workers: Run) -> None:
    workers = run_workers()
    assert workers.pids == []
    assert (await look(workers)).mean_colour == "#802480"
    (pid,) = workers.pids
    await workers.close()
    await workers.close()
    assert workers.pids == []
    assert not psutil.pid_exists(pid)
    with pytest.raises(StoreClosedError):
        await look(workers)


async def test_one_worker_decodes_one_image_after_another(run_workers: Run) -> None:
    workers = run_workers()
    await look(workers)
    pids = workers.pids
    for image in BAD:
        with pytest.raises(ImageRefusedError):
            await look(workers, image.make())
    for sound in SOUND:
        seen = await look(workers, sound.make())
        assert (seen.width, seen.frames) == (sound.width, sound.frames)
    assert workers.pids == pids


async def test_a_variant_is_made(run_workers: Run) -> None:
    workers = run_workers()
    spec = VariantSpec(max_width=30, max_height=30, media_type="image/jpeg")
    data = saved(drawn(2_000, 1_000), "PNG")
    first = await workers.variant(whole(data), len(data), spec)
    again = await workers.variant(whole(data), len(data), spec)
    assert (first.width, first.height, first.data[:2]) == (30, 15, b"\xff\xd8")
    assert first == again


async def test_an_image_that_pillow_warns_of_is_refused(run_workers: Run) -> None:
    corrupt = b"Exif\0\0II*\0\x08\0\0\0\x09\0\x12\x01\x03\0\xff\xff\0\0"
    data = saved(drawn(), "JPEG", exif=corrupt)
    spec = VariantSpec(max_width=9, max_height=9)
    with pytest.raises(ImageRefusedError) as caught:
        await run_workers().variant(whole(data), len(data), spec)
    assert caught.value.refusal is ImageRefusal.BROKEN


async def test_many_at_once_share_the_workers(run_workers: Run) -> None:
    workers = run_workers(workers=2)
    images = [SOUND[number % len(SOUND)] for number in range(32)]
    seen = await asyncio.gather(*(look(workers, image.make()) for image in images))
    assert [each.media_type for each in seen] == [image.media_type for image in images]
    assert len(workers.pids) == 2


async def test_a_bomb_costs_its_request(run_workers: Run) -> None:
    workers = run_workers(memory_bytes=64 * 1024 * 1024)
    with pytest.raises(ImageRefusedError, match="memory") as caught:
        await look(workers, png(8_000, 5_000))  # 5 MB of bits, 160 MB in colours
    assert caught.value.refusal is ImageRefusal.TOO_LARGE
    assert (await look(workers)).width == 60


async def test_endless_decoding_costs_its_request(run_workers: Run) -> None:
    workers = run_workers(cpu_seconds=1)
    with pytest.raises(ImageWorkerCrashedError, match="1 s") as caught:
        await look(workers, slow_jpeg())
    assert not caught.value.retryable
    assert (await look(workers)).width == 60


async def test_a_worker_may_use_its_time_for_each_image_anew(run_workers: Run) -> None:
    workers = run_workers(cpu_seconds=1)
    for _ in range(5):
        await look(workers, slow_jpeg(10))  # about 0.4 s
    assert len(workers.pids) == 1


async def test_a_worker_that_is_too_slow_costs_its_request(run_workers: Run) -> None:
    workers = run_workers(timeout_seconds=1.0)
    with pytest.raises(ImageWorkerLostError, match="1 s") as caught:
        await look(workers, slow_jpeg())
    assert caught.value.retryable
    assert workers.pids == []
    assert (await look(workers)).width == 60


async def test_a_worker_killed_in_a_request_costs_only_that(run_workers: Run) -> None:
    workers = run_workers()
    held = Held()
    lost = held.look(workers)
    await held.begun.wait()
    (pid,) = workers.pids
    waiting = [asyncio.create_task(look(workers)) for _ in range(3)]
    os.kill(pid, signal.SIGKILL)
    held.go.set()
    with pytest.raises(ImageWorkerLostError) as caught:
        await lost
    assert caught.value.retryable
    assert [seen.width for seen in await asyncio.gather(*waiting)] == [60, 60, 60]
    assert pid not in workers.pids


async def test_a_worker_that_crashes_says_that_the_image_did_it(run_workers: Run) -> None:
    workers = run_workers()
    held = Held()
    lost = held.look(workers)
    await held.begun.wait()
    os.kill(workers.pids[0], signal.SIGSEGV)
    held.go.set()
    with pytest.raises(ImageWorkerCrashedError) as caught:
        await lost
    assert not caught.value.retryable


async def test_a_worker_killed_while_it_waits_costs_nothing(run_workers: Run) -> None:
    workers = run_workers()
    await look(workers)
    (pid,) = workers.pids
    os.kill(pid, signal.SIGKILL)
    await gone(pid)
    for _ in range(10):  # so that the loop notices the pipe, and tells who waits on it
        await asyncio.sleep(0)
    assert (await look(workers)).width == 60
    assert pid not in workers.pids


async def test_a_request_that_is_cancelled_ends_its_worker(run_workers: Run) -> None:
    workers = run_workers()
    held = Held()
    task = held.look(workers)
    await held.begun.wait()
    (pid,) = workers.pids
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not psutil.pid_exists(pid)
    assert (await look(workers)).width == 60


async def test_a_worker_is_replaced_after_its_requests(run_workers: Run) -> None:
    workers = run_workers(max_requests=2)
    pids: list[int] = []
    for _ in range(4):
        await look(workers)
        pids += workers.pids
    assert len(pids) == 2  # after the second and the fourth there is none
    assert len(set(pids)) == 2


async def test_more_than_may_wait_are_refused(run_workers: Run) -> None:
    workers = run_workers(max_waiting=1)
    held = Held()
    first = held.look(workers)
    await held.begun.wait()
    second = asyncio.create_task(look(workers))
    await asyncio.sleep(0)  # so that it waits
    with pytest.raises(ImageWorkersBusyError) as caught:
        await look(workers)
    assert caught.value.retryable
    held.go.set()
    assert [(await task).width for task in (first, second)] == [60, 60]


async def test_close_ends_the_running_and_the_waiting(run_workers: Run) -> None:
    workers = run_workers()
    held = Held()
    running = held.look(workers)
    await held.begun.wait()
    (pid,) = workers.pids
    waiting = asyncio.create_task(look(workers))
    await asyncio.sleep(0)
    closing = asyncio.create_task(workers.close())
    held.go.set()
    await closing
    for task in (running, waiting):
        with pytest.raises(StoreClosedError):
            await task
    assert not psutil.pid_exists(pid)


async def test_close_does_not_wait_for_a_source(run_workers: Run) -> None:
    workers = run_workers()
    held = Held()
    running = held.look(workers)
    await held.begun.wait()
    await workers.close()  # the rest of the image never comes
    with pytest.raises(StoreClosedError):
        await running


async def test_an_image_that_cannot_be_read_is_its_readers_error(run_workers: Run) -> None:
    workers = run_workers()

    async def broken() -> AsyncIterator[bytes]:
        yield SMALL[:10]
        raise ConnectionResetError("somewhere else")

    with pytest.raises(ConnectionResetError, match="somewhere else"):
        await workers.glance(broken(), len(SMALL))
    for length in (len(SMALL) - 1, len(SMALL) + 1):
        with pytest.raises(ValueError, match="announced"):
            await workers.glance(whole(SMALL), length)
    assert workers.pids == []
    assert (await look(workers)).width == 60


async def test_an_image_that_is_too_long_is_not_read(run_workers: Run) -> None:
    workers = run_workers(max_source_bytes=100)
    with pytest.raises(ImageRefusedError) as caught:
        await workers.glance(whole(b""), 101)
    assert caught.value.refusal is ImageRefusal.TOO_LARGE
    assert workers.pids == []


async def test_a_worker_has_nothing_of_the_servers(
    run_workers: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COATCHECK_KEY", "secret")
    workers = run_workers()
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        await look(workers)
    process = psutil.Process(workers.pids[0])
    assert set(os.listdir(f"/proc/{process.pid}/fd")) == {"0", "1", "2"}
    assert set(process.environ()) <= {"PYTHONPATH", "LC_CTYPE"}
    assert process.cwd() == "/"
    assert os.getsid(process.pid) == process.pid
    limits = {
        psutil.RLIMIT_NOFILE: 3,
        psutil.RLIMIT_NPROC: 0,
        psutil.RLIMIT_FSIZE: 0,
        psutil.RLIMIT_CORE: 0,
    }
    assert {which: process.rlimit(which) for which in limits} == {
        which: (limit, limit) for which, limit in limits.items()
    }
    assert process.rlimit(psutil.RLIMIT_AS)[1] < 2 * 1024**3
    status = await asyncio.to_thread(Path(f"/proc/{process.pid}/status").read_text)
    assert "NoNewPrivs:\t1" in status


async def test_a_signal_to_the_servers_group_does_not_end_a_worker(run_workers: Run) -> None:
    workers = run_workers()
    held = Held()
    seen = held.look(workers)
    await held.begun.wait()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(workers.pids[0], number)
    held.go.set()
    assert (await seen).width == 60


PARENT = """
import asyncio, sys
from coatcheck.store import ImageWorkers

async def one(data):
    yield data

async def main():
    workers, data = ImageWorkers(), open(sys.argv[1], "rb").read()
    if sys.argv[2] == "idle":
        await workers.glance(one(data), len(data))
        print(workers.pids[0], flush=True)
        await asyncio.Event().wait()

    async def telling():
        yield data
        print(workers.pids[0], flush=True)

    await workers.glance(telling(), len(data))

asyncio.run(main())
"""


@pytest.mark.parametrize("state", ["idle", "busy"])
async def test_a_worker_ends_with_its_parent(tmp_path: Path, state: str) -> None:
    file = tmp_path / "image"
    file.write_bytes(SMALL if state == "idle" else slow_jpeg())
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PARENT, str(file), state), stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    try:
        pid = int(await parent.stdout.readline())
    finally:
        parent.kill()
    await parent.wait()
    await gone(pid)


async def _pretender(code: str) -> WorkerProcess:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    return WorkerProcess(process, ImageWorkerConfig())


HUGE_HEAD = '{"kind":"variant","media_type":"image/png","width":1,"height":1,"size_bytes":99999999}'


@pytest.mark.parametrize(
    ("said", "match"),
    [
        (b"\xff\xff\xff\xff", "too much"),
        (b"\0\0\0\2{}", "nonsense"),
        (b"\0\0\0\2\xff\xff", "nonsense"),
        (len(HUGE_HEAD).to_bytes(4) + HUGE_HEAD.encode(), "more than was asked"),
        (b"", "crashed"),
    ],
)
async def test_a_worker_is_not_believed(said: bytes, match: str) -> None:
    code = f"import sys; sys.stdin.buffer.read(5); sys.stdout.buffer.write({said!r}); "
    worker = await _pretender(code + "sys.stdout.flush(); sys.exit(3)")
    try:
        with pytest.raises(ImageWorkerCrashedError, match=match):
            await worker.ask(Question(size_bytes=0), whole(b""))
    finally:
        await worker.end()


@pytest.mark.parametrize("code", ["", "print('hello', flush=True); input()"])
async def test_a_worker_that_does_not_start_can_be_tried_again(code: str) -> None:
    worker = await _pretender(code)
    try:
        with pytest.raises(ImageWorkerLostError):
            await worker.ready()
    finally:
        await worker.end()


@pytest.mark.parametrize("name", ["workers", "max_waiting", "memory_bytes", "timeout_seconds"])
def test_a_limit_is_positive(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        ImageWorkerConfig(**{name: 0})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_limits_grow_with_the_largest_image() -> None:
    usual = ImageWorkerConfig()
    wide: Sequence[int] = (1, usual.budgets.max_pixels, 3 * usual.budgets.max_pixels)
    small, same, large = (ImageWorkerConfig.of(workers=2, max_pixels=pixels) for pixels in wide)
    assert same == usual
    assert small.memory_bytes == usual.memory_bytes
    assert large.memory_bytes == 3 * usual.memory_bytes
    assert large.cpu_seconds == 3 * usual.cpu_seconds
