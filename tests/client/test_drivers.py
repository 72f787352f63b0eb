"""What only one of the drivers has to hold: threads, loops, cancellation."""

from __future__ import annotations

import asyncio
import inspect
import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from coatcheck.client import AsyncClient, Client
from coatcheck.client.asynchronous import in_thread
from coatcheck.protocol import Digest

if TYPE_CHECKING:
    from tests.client.conftest import FakeServer

DATA = bytes(range(256)) * 8000


class Gated(io.BytesIO):
    """A file whose reading waits until the test lets it go on."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.is_reading = threading.Event()
        self.may_go_on = threading.Event()

    def read(self, size: int | None = -1, /) -> bytes:
        self.is_reading.set()
        assert self.may_go_on.wait(10)
        return super().read(size)


def test_one_blocking_client_serves_many_threads(server: FakeServer) -> None:
    blobs = [str(number).encode() * 1000 for number in range(40)]
    with Client(server.base_url) as client, ThreadPoolExecutor(8) as pool:
        descriptors = list(pool.map(client.put, blobs))
        assert list(pool.map(client.get, descriptors)) == blobs


async def test_the_blocking_client_works_beside_a_running_loop(server: FakeServer) -> None:
    with Client(server.base_url) as client:
        assert client.get(client.put(DATA)) == DATA


async def test_one_async_client_serves_many_tasks(server: FakeServer) -> None:
    blobs = [str(number).encode() * 1000 for number in range(1, 40)]
    async with AsyncClient(server.base_url) as client:
        descriptors = await asyncio.gather(*map(client.put, blobs))
        assert await asyncio.gather(*map(client.get, descriptors)) == blobs


async def test_progress_is_told_on_the_loop(server: FakeServer) -> None:
    threads: set[threading.Thread] = set()

    def note(done: int, total: int) -> None:
        threads.add(threading.current_thread())

    async with AsyncClient(server.base_url) as client:
        await client.get(await client.put(DATA, progress=note), progress=note)
    assert threads == {threading.current_thread()}


async def test_the_loop_runs_on_while_a_file_is_read(server: FakeServer) -> None:
    file = Gated(DATA)
    async with AsyncClient(server.base_url) as client:
        put = asyncio.create_task(client.put(file))
        await asyncio.to_thread(file.is_reading.wait, 10)
        assert await client.stat(Digest.of(DATA)) is None
        assert not put.done()
        file.may_go_on.set()
        assert (await put).digest == Digest.of(DATA)


async def test_a_cancelled_put_stops_and_closes_its_file(
    server: FakeServer, tmp_path: Path
) -> None:
    server.hangs = True
    path = tmp_path / "file"
    path.write_bytes(DATA)
    async with AsyncClient(server.base_url) as client:
        put = asyncio.create_task(client.put(path))
        await asyncio.to_thread(server.arrived.wait, 10)
        put.cancel()
        with pytest.raises(asyncio.CancelledError):
            await put


async def test_a_cancelled_download_leaves_no_file(server: FakeServer, tmp_path: Path) -> None:
    digest = server.put(DATA)
    server.hangs_in_body = True
    async with AsyncClient(server.base_url) as client:
        get = asyncio.create_task(client.get(digest, tmp_path / "target"))
        await asyncio.to_thread(server.arrived.wait, 10)
        while not await asyncio.to_thread(os.listdir, tmp_path):
            pass
        get.cancel()
        with pytest.raises(asyncio.CancelledError):
            await get
    assert await asyncio.to_thread(os.listdir, tmp_path) == []


async def test_cancelling_waits_for_the_thread() -> None:
    started, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def run() -> None:
        started.set()
        assert may_end.wait(10)
        ended.set()

    task = asyncio.create_task(in_thread(run))
    await asyncio.to_thread(started.wait, 10)
    for _ in range(3):
        task.cancel()
        await asyncio.to_thread(lambda: None)
    assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_nothing_connects_before_the_first_call() -> None:
    async with AsyncClient("http://127.0.0.1:9"):
        pass
    with Client("http://127.0.0.1:9"):
        pass


def test_an_async_client_can_be_made_without_a_loop(server: FakeServer) -> None:
    client = AsyncClient(server.base_url)

    async def use() -> bytes:
        async with client:
            return await client.get(await client.put(DATA))

    assert asyncio.run(use()) == DATA


def test_both_clients_take_the_same_calls() -> None:
    def calls(kind: type) -> dict[str, list[inspect.Parameter]]:
        methods = inspect.getmembers(kind, inspect.isfunction)
        return {
            name: list(inspect.signature(method).parameters.values())
            for name, method in methods
            if not name.startswith("_") or name == "__init__"
        }

    assert calls(Client) == calls(AsyncClient)
    assert len(calls(Client)) > 12
