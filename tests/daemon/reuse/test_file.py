"""The mode `file` against engines that open files for real, from a store and from a cache."""

import asyncio
import json
import os
import stat
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web as aioweb

from coatcheck.daemon import UpstreamConfig
from coatcheck.daemon.cache.files import CacheFiles
from coatcheck.daemon.reuse.file import MAX_FILES
from coatcheck.protocol import Digest

from .fetching import DIALECTS, PDF, FetchingProvider, parts, picture
from .hosts import Host, Kind, hosting

Start = Callable[..., Awaitable[Host]]
CHAT, RESPONSES, ANTHROPIC, *_ = DIALECTS
PNG = "image/png"
KINDS: list[Kind] = ["embedded", "apart"]


def folder_of(tmp_path: Path, kind: Kind) -> Path:
    """Return where the files of a daemon are."""
    return tmp_path / ("data/blobs/sha256" if kind == "embedded" else "cache/blobs")


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Serve a store, a daemon and an engine that may read the daemon's files."""
    async with AsyncExitStack() as stack:

        async def run(
            kind: Kind = "embedded",
            dialect: str = CHAT.dialect,
            *,
            may_read: bool = True,
            **config: Any,
        ) -> Host:
            engine = FetchingProvider(dialect, root=folder_of(tmp_path, kind) if may_read else None)
            upstream = UpstreamConfig("engine", dialect=dialect, reuse="file", **config)
            return await stack.enter_async_context(hosting(tmp_path, kind, engine, upstream))

        yield run


def addresses(host: Host, turn: int = -1) -> list[str]:
    """Return what stood for the attachments of a turn."""
    found = parts(host.provider.dialect, host.provider.seen[turn])
    return [where if not where.startswith("data:") else "bytes" for where, _ in found]


def path_of(host: Host, digest: Digest) -> Path:
    name = digest.hex
    is_store = host.files.name == "sha256"
    return host.files / name[:2] / name if is_store else host.files / name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spoken", [CHAT, RESPONSES, ANTHROPIC], ids=lambda each: each.dialect)
async def test_an_engine_reads_the_blobs_own_files(start: Start, kind: Kind, spoken: Any) -> None:
    host = await start(kind, spoken.dialect)
    blobs = [(await host.put(picture("red")), PNG), (await host.put(picture("blue")), PNG)]
    if spoken.has_documents:
        blobs.append((await host.put(PDF), "application/pdf"))
    for _ in range(2):
        status, answer = await host.turn(spoken, blobs)
        assert (status, answer) == (200, {"read": [digest for digest, _ in blobs]})
    assert addresses(host) == [path_of(host, digest).as_uri() for digest, _ in blobs]
    assert len({json.dumps(body) for body in host.provider.seen}) == 1
    assert host.provider.sizes[0] < 1500


@pytest.mark.parametrize("kind", KINDS)
async def test_what_comes_inline_is_read_from_a_file_too(start: Start, kind: Kind) -> None:
    host = await start(kind)
    data = picture("red")
    digest = Digest.of(data)
    body = CHAT.turn([(f"data:image/png;base64,{b64encode(data).decode()}", PNG)])
    for _ in range(2):
        assert await host.post(CHAT, body) == (200, {"read": [digest]})
        assert addresses(host) == [path_of(host, digest).as_uri()]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_damaged_file_is_not_named(start: Start, kind: Kind) -> None:
    """It heals in a cache, and is not found in a store."""
    host = await start(kind)
    digest = await host.put(picture("red"))
    assert (await host.turn(CHAT, [(digest, PNG)]))[0] == 200
    path = path_of(host, digest)
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    status, answer = await host.turn(CHAT, [(digest, PNG)])
    if kind == "apart":
        assert (status, answer) == (200, {"read": [digest]})
        assert addresses(host) == [path.as_uri()]
        assert path.read_bytes() == picture("red")
    else:
        assert (status, answer["error"]["code"]) == (404, "blob_not_found")  # type: ignore[index, call-overload]
        assert len(host.provider.seen) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_an_engine_that_is_not_let_in_gets_bytes_within_the_request(
    start: Start, kind: Kind
) -> None:
    host = await start(kind, may_read=False)
    digest = await host.put(picture("red"))
    for _ in range(3):
        status, answer = await host.turn(CHAT, [(digest, PNG)])
        assert (status, answer) == (200, {"read": [digest]})
    assert [addresses(host, turn)[0] for turn in range(1, 4)] == ["bytes"] * 3
    assert len(host.provider.seen) == 4


async def test_an_engine_may_have_the_folder_elsewhere(start: Start, tmp_path: Path) -> None:
    (tmp_path / "mounted").symlink_to(folder_of(tmp_path, "embedded"))
    host = await start(file_root=tmp_path / "mounted")
    digest = await host.put(picture("red"))
    assert await host.turn(CHAT, [(digest, PNG)]) == (200, {"read": [digest]})
    expected = tmp_path / "mounted" / digest.hex[:2] / digest.hex
    assert addresses(host) == [expected.as_uri()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("access", "bits"), [("owner", 0), ("group", 0o40), ("others", 0o44)])
async def test_others_are_let_in_as_far_as_is_said(
    start: Start, tmp_path: Path, kind: Kind, access: str, bits: int
) -> None:
    host = await start(kind, file_access=access)
    digest = await host.put(picture("red"))
    other = await host.put(picture("blue"))
    assert (await host.turn(CHAT, [(digest, PNG)]))[0] == 200
    path = path_of(host, digest)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 | bits
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o077 == bits | (bits >> 2)
    above = tmp_path / ("data" if kind == "embedded" else "cache")
    assert stat.S_IMODE(above.stat().st_mode) == 0o700
    if path_of(host, other).exists():
        assert stat.S_IMODE(path_of(host, other).stat().st_mode) == 0o600


async def test_a_copy_stays_while_the_turn_runs_and_may_go_after_it(start: Start) -> None:
    host = await start("apart")
    digest = await host.put(picture("red"))
    claims: list[bool] = []
    respond, files = host.provider.respond, CacheFiles(host.files.parent)

    async def looks(request: aioweb.Request) -> aioweb.StreamResponse:
        claim = files.claim(digest)
        claims.append(claim is not None)
        if claim:
            claim.close()
        return await respond(request)

    host.provider.hook = looks
    assert (await host.turn(CHAT, [(digest, PNG)]))[0] == 200
    assert claims == [False]
    claim = files.claim(digest)
    assert claim is not None
    claim.close()


async def test_no_file_stays_open(start: Start) -> None:
    host = await start("apart")
    blobs = [(await host.put(picture("red", side=side)), PNG) for side in range(1, 9)]
    assert (await host.turn(CHAT, blobs))[0] == 200

    def opened() -> int:
        folder = str(host.files)
        names = os.listdir("/proc/self/fd")
        return sum(_link(f"/proc/self/fd/{name}").startswith(folder) for name in names)

    assert opened() == 0
    host.provider.root = None
    assert (await host.turn(CHAT, blobs))[0] == 200
    assert opened() == 0


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


async def test_a_turn_names_files_of_a_bounded_number(start: Start) -> None:
    host = await start()
    made = (host.put(picture("red", side=1 + n) + bytes([n])) for n in range(MAX_FILES + 1))
    digests = await asyncio.gather(*made)
    status, answer = await host.turn(CHAT, [(digest, PNG) for digest in digests])
    assert (status, answer) == (200, {"read": digests})
    assert addresses(host).count("bytes") == 1


async def test_another_tenants_file_is_not_named(start: Start) -> None:
    host = await start()
    digest = await host.put(picture("red"))
    assert (await host.turn(CHAT, [(digest, PNG)], tenant="b"))[0] == 404
    assert host.provider.seen == []


async def test_turns_at_once_read_the_right_pictures(start: Start) -> None:
    host = await start("apart")
    digests = [await host.put(picture("red", side=side)) for side in range(1, 21)]

    async def one(n: int) -> None:
        mine = [digests[n % 20], digests[(n * 7 + 3) % 20]]
        status, answer = await host.turn(CHAT, [(digest, PNG) for digest in mine])
        assert (status, answer) == (200, {"read": mine})

    await asyncio.gather(*(one(n) for n in range(40)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spoken", [CHAT, RESPONSES, ANTHROPIC], ids=lambda each: each.dialect)
async def test_a_client_names_no_file_by_itself(start: Start, kind: Kind, spoken: Any) -> None:
    """The engine would open another tenant's blob, and say whether it is there."""
    host = await start(kind, spoken.dialect)
    digest = await host.put(picture("red"))
    assert (await host.turn(spoken, [(digest, PNG)]))[0] == 200
    held, absent = path_of(host, digest), path_of(host, Digest.of(b"none"))
    for path in (held, absent):
        for spelled in (
            path.as_uri(),
            f"FILE://{path}",
            f" file:{path}",
            f"file://localhost{path}",
            f"{' ' * 9000}fi\n\tle:{path}",
        ):
            status, answer = await host.post(spoken, spoken.turn([(spelled, PNG)]), "b")
            assert status == 400
            assert "file_url_refused" in json.dumps(answer)
            assert digest not in json.dumps(answer)
    assert len(host.provider.seen) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_what_came_inline_goes_with_the_end_user_whom_the_body_names(
    start: Start, kind: Kind
) -> None:
    """The bytes are handed to the store before they are named, whoever is named where."""
    host = await start(kind)
    url = f"data:image/png;base64,{b64encode(picture('red')).decode()}"
    body = {**CHAT.turn([(url, PNG)]), "safety_identifier": "ann"}
    assert (await host.post(CHAT, body))[0] == 200
    erased = await host.store.erasure.erase_end_user("a", "ann")
    assert (erased.ended_grants, erased.kept_grants) == (1, 0)
    assert not path_of(host, Digest.of(picture("red"))).exists() or kind == "apart"
