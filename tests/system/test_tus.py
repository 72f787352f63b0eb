"""tuspy against a real server: cut, killed, resumed, read back; and what a large upload takes."""

import asyncio
import hashlib
import os
import random
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from bench.large_upload import MAX_MEGABYTES, SETTINGS, measure_large_upload
from bench.run import serve as serve_for_bench
from tusclient.client import TusClient
from tusclient.exceptions import TusUploadFailed
from tusclient.uploader.uploader import Uploader

from .deployment import make_keys, run_daemon

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

MIB = 1024 * 1024
SIZE = 50_000_000
CUT = 20_000_000
PAUSE_SECONDS = 0.001


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """50 MB that no part of repeats."""
    path = tmp_path_factory.mktemp("large") / "large.bin"
    path.write_bytes(random.Random(11).randbytes(SIZE))
    return path


Uploading = Callable[..., Uploader]


@pytest.fixture
def uploader(large_file: Path) -> Iterator[Uploading]:
    """Return tuspy's uploader of the large file, as a new upload or to go on with the one at a URL."""
    with ExitStack() as stack:

        def start(url: str, upload: str | None = None, **options: Any) -> Uploader:
            client: Any = TusClient(
                f"{url}/v1/tus", options.pop("headers", {})
            )  # not typed in full
            started: Uploader = client.uploader(
                file_stream=stack.enter_context(large_file.open("rb")),  # it leaves files open
                url=upload,
                metadata={"filetype": "video/mp4"},
                **options,
            )
            return started

        yield start


async def go_on(upload: Uploader) -> None:
    """Let an uploader do its work, which blocks."""
    await asyncio.to_thread(upload.upload)


async def read_back(url: str, path: Path, **headers: str) -> bool:
    """Return whether a URL's bytes are the file's."""
    hasher = hashlib.sha256()
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
        assert answer.status == 200
        async for chunk in answer.content.iter_chunked(MIB):
            hasher.update(chunk)
    return hasher.digest() == hashlib.sha256(await asyncio.to_thread(path.read_bytes)).digest()


@asynccontextmanager
async def cutting_proxy(url: str, after_bytes: int) -> AsyncGenerator[str]:
    """Pass connections on to a server; the first that brings so many bytes ends there, without a word."""
    parts = urlsplit(url)
    has_cut = False

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int) -> bool:
        passed = 0
        while passed < limit and (data := await reader.read(min(65_536, limit - passed))):
            passed += len(data)
            writer.write(data)
            await writer.drain()
        return passed == limit

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal has_cut
        to, back = await asyncio.open_connection(parts.hostname, parts.port)
        limit = after_bytes if not has_cut else 1 << 60
        answers = asyncio.create_task(pump(to, writer, 1 << 60))
        try:
            if await pump(reader, back, limit):
                has_cut = True
        except ConnectionError:
            pass
        finally:
            answers.cancel()
            await asyncio.wait([answers])
            for end in (back, writer):
                end.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


async def test_tuspy_is_cut_and_goes_on(
    serve: Fixture, uploader: Uploading, large_file: Path
) -> None:
    served = await asyncio.to_thread(serve)
    async with cutting_proxy(served.url, CUT) as proxy:
        first = uploader(proxy)
        with pytest.raises(TusUploadFailed):
            await go_on(first)
        assert first.url is not None
        path = urlsplit(first.url).path
    again = uploader(served.url, f"{served.url}{path}", retries=20, retry_delay=0.1)
    assert 0 < again.offset <= CUT
    await go_on(again)
    assert again.offset == SIZE
    assert again.request.response_headers["coatcheck-digest"].startswith("sha256:")
    assert await read_back(f"{served.url}{path}", large_file)


async def test_tuspy_goes_on_by_itself_where_it_may(
    serve: Fixture, uploader: Uploading, large_file: Path
) -> None:
    served = await asyncio.to_thread(serve)
    async with cutting_proxy(served.url, CUT) as proxy:
        upload = uploader(proxy, retries=20, retry_delay=0.1)
        await go_on(upload)
        assert await read_back(upload.url or "", large_file)


async def test_tuspy_goes_on_at_a_server_that_was_killed(
    serve: Fixture, uploader: Uploading, large_file: Path
) -> None:
    served = await asyncio.to_thread(serve)
    first = uploader(served.url)
    task = asyncio.create_task(go_on(first))
    await asyncio.to_thread(_wait_until_received, served.folder, CUT)
    served.process.kill()
    with pytest.raises(TusUploadFailed):
        await task
    assert first.url is not None
    path = urlsplit(first.url).path
    served = await asyncio.to_thread(serve)
    again = uploader(served.url, f"{served.url}{path}")
    assert 8 * MIB <= again.offset < SIZE  # what was synced meanwhile
    await go_on(again)
    assert await read_back(f"{served.url}{path}", large_file)


def _wait_until_received(folder: Path, size: int) -> None:
    while not any(path.stat().st_size >= size for path in (folder / "uploads").iterdir()):
        time.sleep(PAUSE_SECONDS)  # the server needs the processor


async def test_tuspy_in_small_parts_over_several_workers(
    serve: Fixture, uploader: Uploading, large_file: Path
) -> None:
    """Each part comes on a connection of its own, and so at any worker."""
    served = await asyncio.to_thread(serve, "workers = 3\n")
    upload = uploader(served.url, chunk_size=3_000_000)
    await go_on(upload)
    assert await read_back(upload.url or "", large_file)
    assert os.listdir(served.folder / "uploads") == []


async def test_tuspy_through_a_daemon(
    serve: Fixture, uploader: Uploading, large_file: Path, tmp_path: Path
) -> None:
    daemon_key, [alice, bob] = await make_keys(tmp_path / "data", "alice", "bob")
    served = await asyncio.to_thread(serve)
    async with run_daemon(tmp_path, served.url, daemon_key) as daemon:
        key = {"Authorization": f"Bearer {alice}"}
        upload = uploader(daemon.url, chunk_size=20_000_000, headers=key)
        await go_on(upload)
        assert upload.url is not None
        assert upload.url.startswith(daemon.url)
        assert await read_back(upload.url, large_file, **key)
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {bob}"}) as http,
            http.get(upload.url) as answer,
        ):
            assert answer.status == 404


@pytest.mark.alone
def test_a_large_upload_takes_little_memory(tmp_path: Path) -> None:
    """256 MB, each way; `make bench` sends a gigabyte."""
    for finding in measure_large_upload(lambda: serve_for_bench(tmp_path, SETTINGS), 256_000_000):
        assert finding.value <= MAX_MEGABYTES, finding
