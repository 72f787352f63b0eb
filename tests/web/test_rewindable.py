"""Bodies that are read twice, from the wire and then from where they were set aside."""

import io
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from coatcheck.store import BodySpools
from coatcheck.web import RewindableBody, Route, Server, read_purpose

Serve = Callable[..., Awaitable[Server]]
TYPE = "multipart/form-data; boundary=B"
LARGE = os.urandom(3_000_000)
MAX_BYTES = 5_000_000


def part(name: str, value: bytes, *, is_file: bool = False) -> bytes:
    named = '; filename="a"' if is_file else ""
    head = f'--B\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
    return head.encode() + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--B--\r\n"


class Site:
    """Reads each body to its purpose, then again; says the purpose and what was held on disk."""

    def __init__(self, folder: Path) -> None:
        self.spools = BodySpools.at(folder, 0)
        self.bodies: list[bytes] = []
        self.held_bytes = 0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        body = RewindableBody(request, self.spools, MAX_BYTES)
        try:
            purpose = await read_purpose(body, request.headers["Content-Type"])
            self.bodies.append(b"".join([chunk async for chunk in body.rewound()]))
        finally:
            await body.close()
        return web.Response(text=str(purpose))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
async def url(serve: Serve, site: Site) -> str:
    return str((await serve([Route("POST", "/", site.serve, scope=None)])).address.url)


@pytest.mark.parametrize("data", [b"small", LARGE], ids=["small", "large"])
@pytest.mark.parametrize("is_first", [True, False])
async def test_a_body_is_the_same_the_second_time(
    url: str, site: Site, http: ClientSession, data: bytes, *, is_first: bool
) -> None:
    fields = [part("purpose", b"batch"), part("file", data, is_file=True)]
    body = b"preamble\r\n" + form(*(fields if is_first else reversed(fields))) + b"epilogue"
    async with http.post(url, data=io.BytesIO(body), headers={"Content-Type": TYPE}) as answer:
        assert await answer.text() == "batch"
    assert site.bodies == [body]


async def test_without_a_purpose_all_of_it_was_read(
    url: str, site: Site, http: ClientSession
) -> None:
    body = form(part("file", LARGE, is_file=True))
    async with http.post(url, data=io.BytesIO(body), headers={"Content-Type": TYPE}) as answer:
        assert await answer.text() == "None"
    assert site.bodies == [body]


async def test_no_more_is_set_aside_than_the_largest_blobs_form(
    url: str, site: Site, http: ClientSession
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield part("file", b"", is_file=True)[:-2]
        for _ in range(MAX_BYTES // 100_000 + 1):
            yield b"x" * 100_000
        yield b"\r\n" + form(part("purpose", b"batch"))

    async with http.post(url, data=body(), headers={"Content-Type": TYPE}) as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (
            413,
            "body_too_large",
        )
    assert site.bodies == []


async def test_a_large_file_behind_its_purpose_is_not_bounded(
    url: str, site: Site, http: ClientSession
) -> None:
    body = form(part("purpose", b"batch"), part("file", b"x" * (MAX_BYTES * 2), is_file=True))
    async with http.post(url, data=io.BytesIO(body), headers={"Content-Type": TYPE}) as answer:
        assert await answer.text() == "batch"
    assert site.bodies == [body]
