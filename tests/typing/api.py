"""Uses every public signature of the clients; only type checkers read it, nothing runs it."""

import io
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, assert_type

from PIL import Image

from coatcheck import AsyncClient, Client
from coatcheck.client import (
    AsyncBody,
    AsyncChatStream,
    ChatAnswer,
    ChatStream,
    Progress,
    Sink,
    Source,
    StoreLink,
)
from coatcheck.protocol import (
    BlobEntry,
    Descriptor,
    Digest,
    JsonObject,
    KeyAnswer,
    PromptAppend,
    PromptStep,
    Ref,
    Released,
    ResolveAnswer,
    SignedUrl,
)

SOURCES: list[Source] = [
    "coat.png",
    Path("coat.png"),
    b"bytes",
    bytearray(b"bytes"),
    memoryview(b"bytes"),
    io.BytesIO(b"bytes"),
    sys.stdin.buffer,
    Image.new("RGB", (1, 1)),
]
MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]


def show(done: int, total: int) -> None:
    print(done / total)


def blocking() -> None:
    Client("http://127.0.0.1:8420", "cck_key").close()
    Client(base_url="http://127.0.0.1:8420", key=None, connect_seconds=1, idle_seconds=60.0)
    with Client("http://127.0.0.1:8420") as client:
        assert_type(client, Client)
        for source in SOURCES:
            assert_type(client.put(source), Descriptor)
        blob = client.put(b"bytes", media_type="text/plain", progress=show, end_user="ann")
        for name in (blob, blob.digest, blob.ref, Ref(blob.digest)):
            assert_type(client.get(name), bytes)
            assert_type(client.stat(name), Descriptor | None)
            assert_type(client.missing([name]), list[Digest])
            assert_type(client.delete(name), Released)
            assert_type(client.signed_url(name, expires_seconds=60), SignedUrl)
            assert_type(client.pin(name), BlobEntry)
            assert_type(client.unpin(name), BlobEntry)
        progress: Progress = show
        client.get(blob, "coat.png", progress=progress)
        client.get(blob, to=Path("coat.png"))
        client.get(blob, to=sys.stdout.buffer)
        assert_type(client.list(), Iterator[BlobEntry])
        assert_type(client.dehydrate(MESSAGES), list[JsonObject])
        messages = client.dehydrate(MESSAGES, dialect="openai.chat", end_user="ann")
        answer = client.chat(model="echo", messages=messages, temperature=0)
        assert_type(answer, ChatAnswer)
        assert_type(answer.message, JsonObject)
        client.chat(model="echo", messages=[*messages, answer.message], extra_headers={"A": "b"})
        with client.chat_stream(model="echo", messages=MESSAGES, seed=1) as stream:
            assert_type(stream, ChatStream)
            for chunk in stream:
                assert_type(chunk, JsonObject)
        assert_type(stream.text, str)
        assert_type(stream.message, JsonObject)


async def asynchronous() -> None:
    await AsyncClient("http://127.0.0.1:8420", "cck_key").close()
    AsyncClient(base_url="http://127.0.0.1:8420", key=None, connect_seconds=1, idle_seconds=60.0)
    async with AsyncClient("http://127.0.0.1:8420") as client:
        assert_type(client, AsyncClient)
        for source in SOURCES:
            assert_type(await client.put(source), Descriptor)
        blob = await client.put(b"bytes", media_type="text/plain", progress=show, end_user="ann")
        for name in (blob, blob.digest, blob.ref, Ref(blob.digest)):
            assert_type(await client.get(name), bytes)
            assert_type(await client.stat(name), Descriptor | None)
            assert_type(await client.missing([name]), list[Digest])
            assert_type(await client.delete(name), Released)
            assert_type(await client.signed_url(name, expires_seconds=60), SignedUrl)
            assert_type(await client.pin(name), BlobEntry)
            assert_type(await client.unpin(name), BlobEntry)
        await client.get(blob, "coat.png", progress=show)
        await client.get(blob, to=Path("coat.png"))
        await client.get(blob, to=sys.stdout.buffer)
        assert_type(client.list(), AsyncIterator[BlobEntry])
        assert_type(await client.dehydrate(MESSAGES), list[JsonObject])
        messages = await client.dehydrate(MESSAGES, dialect="openai.chat")
        answer = await client.chat(model="echo", messages=messages, temperature=0)
        assert_type(answer, ChatAnswer)
        sent = [*messages, answer.message]
        await client.chat(model="echo", messages=sent, extra_headers={"A": "b"})
        stream = await client.chat_stream(model="echo", messages=MESSAGES, seed=1)
        async with stream:
            assert_type(stream, AsyncChatStream)
            async for chunk in stream:
                assert_type(chunk, JsonObject)
        assert_type(stream.message, JsonObject)


async def daemons(sink: Sink) -> None:
    link = StoreLink(
        "http://127.0.0.1:8420",
        "cck_key",
        connect_seconds=1,
        idle_seconds=1.0,
        answer_seconds=1.0,
    )
    digest = Digest.of(b"bytes")
    assert_type(link.base_url, str)
    assert_type(await link.resolve("tenant", [digest], ["file-cc"], is_use=False), ResolveAnswer)
    assert_type(await link.upload("tenant", b"bytes", digest, None), Descriptor)
    assert_type(await link.upload("tenant", b"bytes", digest, None, end_user="ann"), Descriptor)
    assert_type(await link.missing("tenant", [digest], "ann"), list[Digest])
    body = await link.open("tenant", digest)
    assert_type(body, AsyncBody)
    await body.pour(sink)
    assert_type(await link.expand("tenant", "openai.chat", digest), list[str] | None)
    assert_type(await link.verify("cck_key"), KeyAnswer | None)
    step = PromptStep(digest=digest, text="{}", blobs=(digest,))
    await link.append("tenant", PromptAppend(dialect="d", parent=digest, messages=(step,)))
    await link.ready()
    await link.close()
