"""Messages reach a store elsewhere before the answer begins, or as soon as the store answers again."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web as aioweb

from coatcheck.daemon import KeptMessage, RemoteStore
from coatcheck.daemon.errors import NotKeptError, StoreUnavailableError
from coatcheck.daemon.prompt_outbox import MAX_BYTES, Parcel, PromptOutbox
from coatcheck.daemon.source import PromptKey
from coatcheck.protocol import Json, encode_json, prompt_digests, prompt_root

from .remote import StoreServer, open_remote

CHAT = "openai.chat"
ROOT = prompt_root(CHAT)
SAID: list[Json] = [{"role": "user", "content": f"message {number}"} for number in range(4)]
KEPT = [
    KeptMessage(digest, encode_json(message).decode(), ())
    for digest, message in zip(prompt_digests(CHAT, SAID), SAID, strict=True)
]
TEXTS = [message.text for message in KEPT]


@pytest.fixture
async def store() -> AsyncIterator[StoreServer]:
    opened = await StoreServer.open()
    yield opened
    await opened.close()


@pytest.fixture
async def two(store: StoreServer, tmp_path: Path) -> AsyncIterator[list[RemoteStore]]:
    """What two daemons have of one store."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    opened = [await open_remote(store, folder) for folder in folders]
    yield opened
    for remote in opened:
        await remote.close()


async def append(remote: RemoteStore, at: int) -> None:
    parent = KEPT[at - 1].digest if at else ROOT
    await remote.prompts.append("a", CHAT, parent, KEPT[at : at + 1])


async def expand(remote: RemoteStore, count: int) -> list[str] | None:
    return await remote.prompts.expand("a", CHAT, KEPT[count - 1].digest)


async def test_a_conversation_may_alternate_between_daemons(two: list[RemoteStore]) -> None:
    for at in range(4):
        await append(two[at % 2], at)
        assert await expand(two[(at + 1) % 2], at + 1) == TEXTS[: at + 1]


async def test_messages_that_are_known_do_not_come_again(
    store: StoreServer, two: list[RemoteStore]
) -> None:
    one, other = two
    await append(one, 0)
    await append(other, 1)
    texts: list[bool] = []

    async def note(request: aioweb.Request) -> aioweb.StreamResponse | None:
        texts.append("If-None-Match" not in request.headers)
        return None

    store.before = note
    for _ in range(3):
        assert await expand(one, 2) == TEXTS[:2]  # the other one's message it has to be sent once
        store.clock.now += 20
    assert texts == [True, False]
    store.clock.now += 3601
    assert await expand(one, 2) == TEXTS[:2]
    assert texts == [True, False, True]


async def test_what_expired_in_the_store_is_kept_by_no_daemon(
    store: StoreServer, two: list[RemoteStore]
) -> None:
    for at in range(4):
        await append(two[at % 2], at)
    store.clock.now += 20 * 3600
    assert await expand(two[0], 2) == TEXTS[:2]
    store.clock.now += 20 * 3600
    assert [await expand(remote, 2) for remote in two] == [TEXTS[:2]] * 2
    assert [await expand(remote, 4) for remote in two] == [None, None]


async def test_what_a_store_that_is_away_could_not_be_told_it_is_told_later(
    store: StoreServer, two: list[RemoteStore]
) -> None:
    one, other = two
    await append(one, 0)
    await store.stop()
    for at in (1, 2):  # the second continues what has not arrived
        await append(one, at)
        assert await expand(one, at + 1) == TEXTS[: at + 1]
    store.clock.now += 31  # what is on its way is believed all the same
    assert await expand(one, 3) == TEXTS[:3]
    await store.start()
    await one.prompts.flush()
    assert await expand(other, 3) == TEXTS[:3]
    await append(other, 3)
    assert await expand(one, 4) == TEXTS


async def test_an_answer_does_not_wait_long_for_a_store_that_hangs(
    store: StoreServer, two: list[RemoteStore]
) -> None:
    answer = asyncio.Event()

    async def hang(request: aioweb.Request) -> aioweb.StreamResponse | None:
        await answer.wait()
        return None

    store.before = hang
    async with asyncio.timeout(5):
        await append(two[0], 0)
    assert await expand(two[0], 1) == TEXTS[:1]
    store.before = None
    answer.set()
    await two[0].prompts.flush()
    assert await expand(two[1], 1) == TEXTS[:1]


async def test_what_the_store_does_not_take_is_not_held(
    store: StoreServer, two: list[RemoteStore]
) -> None:
    with pytest.raises(NotKeptError):
        await append(two[0], 1)  # what it continues is not there
    assert await expand(two[0], 2) is None


async def test_closing_waits_a_little_for_a_store_that_is_away(
    store: StoreServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    remote = await open_remote(store, tmp_path)
    await store.stop()
    await append(remote, 0)
    async with asyncio.timeout(5):
        await remote.close()
    assert "did not reach the store" in caplog.text


async def test_what_waits_is_bounded() -> None:
    async def away(parcel: Parcel) -> None:
        raise StoreUnavailableError("away")

    outbox = PromptOutbox(away)
    text = "x" * (MAX_BYTES // 2 - 1000)
    for at in range(3):
        key = PromptKey(f"tenant {at}", CHAT, ROOT)
        parcel = Parcel(key, [KeptMessage(KEPT[0].digest, text, ())], None)
        if at < 2:
            await outbox.put(parcel)
        else:
            with pytest.raises(NotKeptError):
                await outbox.put(parcel)
    await outbox.close()
    await outbox.close()
