"""The mode `ref`: a Dify plugin with our hook in it is named refs, and resolves them itself."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from coatcheck.daemon import UpstreamConfig
from coatcheck.protocol import (
    Digest,
    Json,
    JsonObject,
    Pointer,
    dialect,
    encode_json,
    messages_in,
)

from .crossing import inline
from .fetching import DIALECTS, PDF, FetchingProvider, parts, picture
from .hosts import Host, Kind, hosting

Start = Callable[..., Awaitable[Host]]
DIFY = DIALECTS[4]
PNG = "image/png"


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Serve a store, a daemon, and a plugin that resolves what the test gives it."""
    async with AsyncExitStack() as stack:

        async def run(kind: Kind = "embedded") -> Host:
            config = UpstreamConfig("plugins", dialect=DIFY.dialect, reuse="ref")
            made = FetchingProvider(DIFY.dialect)
            return await stack.enter_async_context(hosting(tmp_path, kind, made, config))

        yield run


def named(host: Host) -> list[str]:
    """Return what stood for the attachments of the last turn."""
    return [where for where, _ in parts(DIFY.dialect, host.provider.seen[-1])]


@pytest.mark.parametrize("kind", ["embedded", "apart"])
async def test_a_plugin_is_named_refs_however_the_client_wrote_them(
    start: Start, kind: Kind
) -> None:
    host = await start(kind)
    red, blue = picture("red"), picture("blue")
    for data in (red, PDF):
        await host.put(data)
    pointer = str(Pointer(Digest.of(red), len(red))).encode()
    given = [
        (f"blob:{Digest.of(red)}", PNG),
        (inline(pointer), PNG),
        (inline(blue), PNG),  # which the store has not: it is handed in first
        (f"blob:{Digest.of(PDF)}", "application/pdf"),
    ]
    host.provider.held = {f"blob:{Digest.of(data)}": data for data in (red, blue, PDF)}
    status, answer = await host.post(DIFY, DIFY.turn(given))
    expected = [Digest.of(data) for data in (red, red, blue, PDF)]
    assert (status, answer) == (200, {"read": expected})
    assert named(host) == [f"blob:{digest}" for digest in expected]
    async with host.http.get(
        f"{host.url}/v1/blobs/{Digest.of(blue)}", headers=host.headers["a"]
    ) as got:
        assert await got.read() == blue
    asked: JsonObject = host.provider.seen[-1]  # type: ignore[assignment]
    (message,) = _messages(asked)
    for item in message["content"][1:]:
        assert item["base64_data"] == ""
        assert list(item) == ["type", "format", "base64_data", "url", "mime_type"]


async def test_what_the_tenant_has_not_is_named_to_nobody(start: Start) -> None:
    host = await start()
    digest = await host.put(picture("red"), "b")
    given: list[tuple[str, str]] = [(f"blob:{digest}", PNG)]
    body = DIFY.turn(given)
    async with host.http.post(
        f"{host.url}{DIFY.path}", json=body, headers=host.headers["a"]
    ) as answer:
        assert b"blob_not_found" in await answer.read()
    assert host.provider.seen == []


async def test_no_spelling_takes_past_us_what_the_tenant_has_not(start: Start) -> None:
    host = await start()
    given: list[tuple[str, str]] = [(f"blob:{await host.put(picture('red'), 'b')}", PNG)]
    text = encode_json(DIFY.turn(given)).decode()
    listed = encode_json(_messages(DIFY.turn(given))).decode()
    none = text.replace(listed, "[]")
    spelled = [
        (DIFY.path, text.replace('"url":', '"URL":')),
        (DIFY.path, text.replace('"content":', '"Content":')),
        (DIFY.path, text.replace('"type":"image"', '"type":"text","Type":"image"')),
        (
            DIFY.path,
            none.replace(
                '"prompt_messages":', f'"prompt_me\u017fsages":{listed},"prompt_messages":'
            ),
        ),
        (
            DIFY.path,
            text.replace('"data":', f'"DATA":{{"prompt_messages":{listed}}},"data":', 1).replace(
                listed, "[]"
            ),
        ),
        (DIFY.path.replace("/invoke", "%2Finvoke"), text),
        (DIFY.path.replace("/llm/", "%2fllm/"), text),
    ]
    for path, body in spelled:
        url = URL(host.url + path, encoded=True)
        async with host.http.post(url, data=body.encode(), headers=host.headers["a"]) as answer:
            told = await answer.read()
        assert b"message_malformed" in told or b"path_invalid" in told, body
    assert host.provider.seen == []


async def test_no_refusal_sends_a_turn_again(start: Start) -> None:
    host = await start()
    await host.put(picture("red"))
    given: list[tuple[str, str]] = [(f"blob:{Digest.of(picture('red'))}", PNG)]
    await host.post(DIFY, DIFY.turn(given))
    assert len(host.provider.seen) == 1


def _messages(body: JsonObject) -> list[Any]:
    listed: Json = messages_in(dialect(DIFY.dialect), body)
    assert isinstance(listed, list)
    return listed
