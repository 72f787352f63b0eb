"""The mode `url` against providers that fetch for real, from a store with keys."""

import asyncio
import json
import logging
import os
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from coatcheck.daemon import UpstreamConfig
from coatcheck.protocol import Digest

from .fetching import DIALECTS, PDF, FetchingProvider, Spoken, parts, picture
from .hosts import Host, Kind, hosting

Start = Callable[..., Awaitable[Host]]
CHAT, GEMINI = DIALECTS[0], DIALECTS[3]
NIGHTLY = 50 if os.environ.get("COATCHECK_NIGHTLY") else 1
PNG = "image/png"


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Serve a store, a daemon and a provider that fetches."""
    async with AsyncExitStack() as stack:

        async def run(spoken: Spoken, kind: Kind = "embedded", **provider: Any) -> Host:
            config = UpstreamConfig("far", dialect=spoken.dialect, reuse="url")
            made = FetchingProvider(spoken.dialect, **provider)
            return await stack.enter_async_context(hosting(tmp_path, kind, made, config))

        yield run


def addresses(host: Host, turn: int = -1) -> list[str]:
    """Return what stood for the attachments of a turn."""
    found = parts(host.provider.dialect, host.provider.seen[turn])
    return [where if not where.startswith("data:") else "bytes" for where, _ in found]


@pytest.mark.parametrize(
    ("spoken", "kind"),
    [*((spoken, "embedded") for spoken in DIALECTS), (CHAT, "apart")],
    ids=lambda value: getattr(value, "dialect", value),
)
async def test_a_provider_fetches_what_it_is_named(
    start: Start, spoken: Spoken, kind: Kind
) -> None:
    host = await start(spoken, kind)
    blobs = [(await host.put(picture("red")), PNG)]
    blobs.append((await host.put(picture("blue", "JPEG")), "image/jpeg"))
    blobs.append((await host.put(PDF), "application/pdf"))
    status, answer = await host.turn(spoken, blobs)
    assert (status, answer) == (200, {"read": [digest for digest, _ in blobs]})
    shown = addresses(host)
    takes = 3 if spoken.has_documents else 2
    assert all(
        f"/v1/blobs/{digest}?expires=" in url
        for (digest, _), url in zip(blobs[:takes], shown, strict=False)
    )
    assert shown[takes:] == ["bytes"] * (3 - takes)
    assert host.provider.fetched == shown[:takes]


@pytest.mark.parametrize("kind", ["embedded", "apart"])
async def test_a_turn_begins_as_the_one_before_it_within_a_window(start: Start, kind: Kind) -> None:
    host = await start(CHAT, kind)
    blobs = [(await host.put(picture(colour)), PNG) for colour in ("red", "green")]
    for seconds in (0, 150, 199):
        host.times[0] = 1_000_000.0 + seconds
        assert (await host.turn(CHAT, blobs))[0] == 200
    assert len({json.dumps(body) for body in host.provider.seen}) == 1
    host.times[0] = 1_000_200.0
    assert (await host.turn(CHAT, blobs))[0] == 200
    assert not set(addresses(host)) & set(addresses(host, 0))
    assert len(host.provider.fetched) == 8


async def test_a_store_apart_is_asked_once_in_a_window(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    host = await start(CHAT, "apart")
    digest = await host.put(picture("red"))
    with caplog.at_level(logging.INFO, "coatcheck.request"):
        for seconds in (0, 100, 201, 300):
            host.times[0] = 1_000_000.0 + seconds
            assert (await host.turn(CHAT, [(digest, PNG)]))[0] == 200
    assert caplog.text.count("/signed-url status=200") == 2
    assert "signature" not in caplog.text


@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize("spoken", DIALECTS[:4], ids=lambda spoken: spoken.dialect)
async def test_one_that_cannot_reach_the_store_gets_bytes_within_the_request(
    start: Start, spoken: Spoken, names: bool
) -> None:
    host = await start(spoken, is_deaf=True, names_address=names)
    digests = [await host.put(picture(colour)) for colour in ("red", "green", "blue")]
    blobs = [(digest, PNG) for digest in digests]
    status, answer = await host.turn(spoken, blobs)
    assert (status, answer) == (200, {"read": digests})
    assert addresses(host) == ["bytes"] * 3
    assert host.provider.answered == 1
    assert len(host.provider.seen) == (3 if names else 2)
    host.provider.fetched.clear()
    for _ in range(3):  # it is known now: no turn goes twice
        assert (await host.turn(spoken, blobs))[0] == 200
    assert host.provider.fetched == []
    assert host.provider.answered == 4


async def test_one_that_reaches_nothing_rests(start: Start) -> None:
    host = await start(CHAT, is_deaf=True)
    for side in range(1, 4):
        digest = await host.put(picture("red", side=side))
        assert (await host.turn(CHAT, [(digest, PNG)]))[0] == 200
    assert len(host.provider.fetched) == 3
    digest = await host.put(picture("red", side=9))
    assert (await host.turn(CHAT, [(digest, PNG)]))[0] == 200
    assert len(host.provider.fetched) == 3


async def test_what_it_fetches_only_up_to_a_size_goes_as_bytes(start: Start) -> None:
    host = await start(CHAT, max_bytes=500)
    small, large = await host.put(picture("red")), await host.put(picture("red", "JPEG", side=40))
    blobs = [(small, PNG), (large, "image/jpeg")]
    for _ in range(3):
        status, answer = await host.turn(CHAT, blobs)
        assert (status, answer) == (200, {"read": [small, large]})
        shown = addresses(host)
        assert (str(small) in shown[0], shown[1]) == (True, "bytes")
    assert len(host.provider.seen) == 4


async def test_an_error_of_the_clients_own_is_told_as_it_is(start: Start) -> None:
    """What fails as bytes too is no fault of the URL, and nothing is concluded from it."""
    host = await start(CHAT)
    broken = await host.put(picture("red")[:-30])
    for _ in range(4):
        status, answer = await host.turn(CHAT, [(broken, PNG)])
        assert (status, answer["error"]["code"]) == (400, "invalid_image_url")  # type: ignore[index, call-overload]
    good = await host.put(picture("blue"))
    assert (await host.turn(CHAT, [(good, PNG)]))[0] == 200
    assert str(good) in addresses(host)[0]


@pytest.mark.parametrize("names", [True, False])
async def test_a_failure_is_recovered_from_only_where_it_names_an_address(
    start: Start, names: bool
) -> None:
    """An engine fails so before it runs its model; of any other failure nobody knows what ran."""
    host = await start(CHAT)
    digest = await host.put(picture("red"))
    respond = host.provider.respond

    async def fails(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        (where, _), *_ = parts(CHAT.dialect, body)
        if where.startswith("data:"):
            return await respond(request)
        about = f"url='{where}'" if names else f"while answering about {digest}"
        host.provider.seen.append(body)
        return web.json_response({"error": {"message": f"403, {about}"}}, status=500)

    host.provider.hook = fails
    status, answer = await host.turn(CHAT, [(digest, PNG)])
    assert (status, len(host.provider.seen)) == ((200, 2) if names else (500, 1))
    assert names == (answer == {"read": [digest]})


async def test_a_blob_that_went_bad_is_told_as_such(start: Start, tmp_path: Path) -> None:
    host = await start(CHAT)
    digest = await host.put(picture("red"))
    path = host.files / digest.hex[:2] / digest.hex
    path.write_bytes(picture("red")[:-1] + b"x")
    status, answer = await host.turn(CHAT, [(digest, PNG)])
    assert (status, answer["error"]["code"]) == (404, "blob_not_found")  # type: ignore[index, call-overload]


async def test_what_is_presented_as_another_type_goes_as_bytes(start: Start) -> None:
    host = await start(GEMINI)
    digest = await host.put(picture("red"))
    body = GEMINI.turn([(f"blob:{digest}?type=image/webp", "image/webp")])
    headers = host.headers["a"]
    async with host.http.post(f"{host.url}{GEMINI.path}", json=body, headers=headers) as answer:
        assert answer.status == 400
    assert addresses(host) == ["bytes"]
    text = await host.put(b"nothing that shows what it is")
    assert (await host.turn(GEMINI, [(text, "text/plain")]))[0] == 400
    assert addresses(host) == ["bytes"]


@pytest.mark.parametrize("kind", ["embedded", "apart"])
async def test_what_comes_inline_goes_by_url_too(start: Start, kind: Kind) -> None:
    host = await start(CHAT, kind)
    data = picture("red")
    digest = Digest.of(data)
    url = f"data:image/png;base64,{b64encode(data).decode()}"
    for _ in range(3):
        body = CHAT.turn([(url, PNG), (f"blob:{digest}", PNG)])
        if not host.provider.seen:
            body = CHAT.turn([(url, PNG), (url, PNG)])
        status, answer = await host.post(CHAT, body, **{"Coatcheck-User": "erin"})
        assert (status, answer) == (200, {"read": [digest, digest]})
    assert len({json.dumps(body) for body in host.provider.seen}) == 1
    assert all(f"/v1/blobs/{digest}?expires=" in each for each in addresses(host))
    assert await host.store.stat("b", digest) is None
    wrong = f"data:image/webp;base64,{b64encode(data).decode()}"
    assert (await host.post(CHAT, CHAT.turn([(wrong, PNG)])))[0] == 200
    assert addresses(host) == ["bytes"]


async def test_what_comes_inline_goes_as_it_came_where_it_is_not_fetched(start: Start) -> None:
    host = await start(CHAT, is_deaf=True)
    data = picture("red")
    body = CHAT.turn([(f"data:image/png;base64,{b64encode(data).decode()}", PNG)])
    for _ in range(2):
        assert await host.post(CHAT, body) == (200, {"read": [Digest.of(data)]})
        assert host.provider.seen[-1] == body
    assert len(host.provider.seen) == 3


@pytest.mark.parametrize("kind", ["embedded", "apart"])
async def test_two_tenants_have_urls_of_their_own(start: Start, kind: Kind) -> None:
    host = await start(CHAT, kind)
    data = picture("red")
    digest = await host.put(data)
    assert (await host.turn(CHAT, [(digest, PNG)], tenant="b"))[0] == 404
    await host.put(data, tenant="b")
    for tenant in ("a", "b"):
        assert (await host.turn(CHAT, [(digest, PNG)], tenant=tenant))[0] == 200
    first, second = addresses(host, 0)[0], addresses(host, 1)[0]
    assert first != second
    delete = f"{host.url}/v1/blobs/{digest}"
    async with host.http.delete(delete, headers=host.headers["a"]) as answer:
        assert answer.status == 200
    for url, status in ((first, 404), (second, 200)):
        async with host.http.get(url) as answer:
            assert answer.status == status
    assert (await host.turn(CHAT, [(digest, PNG)]))[0] == 404
    assert len(host.provider.seen) == 2


async def test_while_the_store_is_away_what_is_known_goes_on(start: Start) -> None:
    host = await start(CHAT, "apart")
    digest = await host.put(picture("red"))
    assert (await host.turn(CHAT, [(digest, PNG)]))[0] == 200
    other = await host.put(picture("blue"))
    await host.store.close()
    status, _ = await host.turn(CHAT, [(digest, PNG)])
    assert (status, addresses(host)) == (200, ["bytes"])  # nobody can fetch it, so it goes again
    assert (await host.turn(CHAT, [(other, PNG)]))[0] == 503


async def test_turns_at_once_read_the_right_pictures(start: Start) -> None:
    host = await start(CHAT)
    digests = [await host.put(picture("red", side=side)) for side in range(1, 21)]

    async def one(n: int) -> None:
        mine = [digests[n % 20], digests[(n * 7 + 3) % 20]]
        status, answer = await host.turn(CHAT, [(digest, PNG) for digest in mine])
        assert (status, answer) == (200, {"read": mine})

    for begin in range(0, 60 * NIGHTLY, 10):
        host.times[0] += 95
        await asyncio.gather(*(one(n) for n in range(begin, begin + 10)))
