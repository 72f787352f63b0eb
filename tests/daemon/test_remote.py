"""A store elsewhere: asked each turn, remembered a while, away, refusing, lying, hanging."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web as aioweb

from coatcheck.client import StoreLink
from coatcheck.daemon import KeptMessage, NamedResponse, RemoteStore
from coatcheck.daemon.availability import PAUSE_SECONDS, Availability
from coatcheck.daemon.errors import (
    BlobUnreadableError,
    NotKeptError,
    StoreRefusedError,
    StoreUnavailableError,
    WrongBytesError,
)
from coatcheck.daemon.remote_keyring import RemoteKeyring
from coatcheck.daemon.remote_origin import RemoteOrigin
from coatcheck.protocol import (
    Digest,
    Json,
    KeyAnswer,
    encode_json,
    prompt_digests,
    prompt_root,
)
from coatcheck.web import Principal, ProblemError

from .remote import KEY, Clock, StoreServer, forever, open_remote

CHAT = "openai.chat"
DATA = b"\x89PNG\r\n\x1a\n" + bytes(200_000)
DIGEST = Digest.of(DATA)
UNKNOWN = Digest.of(b"unknown")
MESSAGE: Json = {"role": "user", "content": "hello"}
KEPT = [KeptMessage(prompt_digests(CHAT, [MESSAGE])[0], encode_json(MESSAGE).decode(), ())]


@pytest.fixture
async def store() -> AsyncIterator[StoreServer]:
    opened = await StoreServer.open()
    yield opened
    await opened.close()


@pytest.fixture
async def remote(store: StoreServer, tmp_path: Path) -> AsyncIterator[RemoteStore]:
    opened = await open_remote(store, tmp_path)
    yield opened
    await opened.close()


def link_to(store: StoreServer, answer_seconds: float = 10.0) -> StoreLink:
    return StoreLink(
        store.url, KEY, connect_seconds=5, idle_seconds=30, answer_seconds=answer_seconds
    )


async def hand_in(store: StoreServer, tenant: str = "a", data: bytes = DATA) -> Digest:
    async def body() -> AsyncIterator[bytes]:
        yield data

    return (await store.store.receive(tenant, body())).grant.digest


async def read(remote: RemoteStore, tenant: str = "a", digest: Digest = DIGEST) -> bytes:
    reader = await remote.blobs.open(tenant, digest)
    try:
        return bytes(await reader.read_piece(0))
    finally:
        await reader.close()


async def test_what_is_held_is_asked_once_in_half_a_minute(
    store: StoreServer, remote: RemoteStore
) -> None:
    await hand_in(store)
    for _ in range(3):
        assert DIGEST in await remote.blobs.resolve("a", [DIGEST])
    assert store.paths() == ["POST /v1/resolve"]
    store.clock.now += 31
    await remote.blobs.resolve("a", [DIGEST])
    assert len(store.seen) == 2


async def test_what_is_not_held_is_asked_for_each_time(
    store: StoreServer, remote: RemoteStore
) -> None:
    await hand_in(store)
    assert await read(remote) == DATA
    store.seen.clear()
    for digest in (DIGEST, UNKNOWN):  # in the cache, and nowhere: the same work
        for _ in range(2):
            assert await remote.blobs.resolve("b", [digest]) == {}
    assert store.seen == [("POST", "/v1/resolve", "b")] * 4


async def test_bytes_are_fetched_once_for_all_tenants(
    store: StoreServer, remote: RemoteStore
) -> None:
    await hand_in(store, "a")
    await hand_in(store, "b")
    assert await read(remote, "a") == await read(remote, "b") == DATA
    assert store.paths().count(f"GET /v1/blobs/{DIGEST}") == 1


async def test_absorbed_bytes_need_not_be_fetched(store: StoreServer, remote: RemoteStore) -> None:
    await remote.blobs.absorb("a", DATA, "image/png")
    assert await read(remote) == DATA
    assert store.paths() == [f"PUT /v1/blobs/{DIGEST}", "POST /v1/resolve"]


async def test_a_store_that_is_away_is_remembered(
    store: StoreServer, remote: RemoteStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "coatcheck.daemon")
    await hand_in(store)
    assert await read(remote) == DATA
    await remote.prompts.append("a", CHAT, prompt_root(CHAT), KEPT)
    await store.stop()
    store.clock.now += 3500
    assert await read(remote) == DATA
    assert await remote.prompts.expand("a", CHAT, KEPT[0].digest) == [KEPT[0].text]
    with pytest.raises(StoreUnavailableError) as caught:
        await remote.blobs.resolve("a", [DIGEST, UNKNOWN])
    problem = caught.value.problem
    assert (problem.status, problem.code, problem.retry_after_seconds) == (
        503,
        "store_unavailable",
        1,
    )
    with pytest.raises(StoreUnavailableError):
        await remote.blobs.resolve("b", [DIGEST])
    store.clock.now += 200
    with pytest.raises(StoreUnavailableError):
        await remote.blobs.resolve("a", [DIGEST])
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_a_store_that_comes_back_is_asked_again(
    store: StoreServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "coatcheck.daemon")
    clock = Clock()
    availability = Availability("s", clock)
    link = link_to(store)

    async def ask() -> None:
        async with availability.asking():
            await link.resolve("a", [UNKNOWN])

    await ask()
    await store.stop()
    with pytest.raises(StoreUnavailableError):
        await ask()
    await store.start()
    asked = len(store.seen)
    with pytest.raises(StoreUnavailableError):
        await ask()  # so soon after, nobody is asked
    assert len(store.seen) == asked
    clock.now += PAUSE_SECONDS
    await ask()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    await link.close()


async def test_a_store_that_hangs_holds_up_one_request(store: StoreServer) -> None:
    clock = Clock()
    availability = Availability("s", clock)
    link = link_to(store, answer_seconds=0.5)
    store.before = forever

    async def ask() -> None:
        async with availability.asking():
            await link.resolve("a", [UNKNOWN])

    with pytest.raises(StoreUnavailableError):
        await ask()
    clock.now += PAUSE_SECONDS
    asked = len(store.seen)
    outcomes = await asyncio.gather(*(ask() for _ in range(10)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StoreUnavailableError}
    assert len(store.seen) == asked + 1
    await link.close()


async def test_a_blob_on_its_way_holds_up_nobody_once_the_store_is_back(
    store: StoreServer,
) -> None:
    clock, gate = Clock(), asyncio.Event()
    availability = Availability("s", clock)
    link = link_to(store)
    origin = RemoteOrigin(link, availability)
    await hand_in(store)
    begun = asyncio.Event()

    async def slowly(request: aioweb.Request) -> aioweb.StreamResponse | None:
        if request.method != "GET":
            return None
        response = aioweb.StreamResponse()
        response.content_length = len(DATA)
        await response.prepare(request)
        await response.write(DATA[:1000])
        begun.set()
        await gate.wait()
        await response.write(DATA[1000:])
        return response

    async def ask() -> None:
        async with availability.asking():
            await link.resolve("a", [UNKNOWN])

    await store.stop()
    with pytest.raises(StoreUnavailableError):
        await ask()
    await store.start()
    store.before = slowly
    clock.now += PAUSE_SECONDS
    sink = Sink()
    fetching = asyncio.create_task(origin.fetch("a", DIGEST, sink))
    await begun.wait()
    await asyncio.to_thread(sink.begun.wait)
    await ask()
    gate.set()
    await fetching
    assert bytes(sink.data) == DATA
    await link.close()


async def test_questions_do_not_stand_behind_blobs_on_their_way(store: StoreServer) -> None:
    link = link_to(store, answer_seconds=2)
    gate, waiting = asyncio.Event(), asyncio.Semaphore(0)

    async def hold(request: aioweb.Request) -> aioweb.StreamResponse | None:
        if request.method == "GET":
            waiting.release()
            await gate.wait()
        return None

    store.before = hold
    await hand_in(store)
    fetches = [asyncio.create_task(link.open("a", DIGEST)) for _ in range(100)]
    for _ in fetches:
        await waiting.acquire()
    await link.resolve("a", [DIGEST])
    gate.set()
    for body in await asyncio.gather(*fetches):
        body.close()
    await link.close()


class Sink:
    """A sink into memory."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.begun = threading.Event()

    def begin(self, size: int | None) -> None:
        self.begun.set()

    def write(self, data: bytes) -> None:
        self.data += data

    def received(self, count: int) -> None:
        pass


async def test_a_cancelled_question_does_not_keep_the_next_from_being_asked(
    store: StoreServer,
) -> None:
    clock = Clock()
    availability = Availability("s", clock)
    hasty, link = link_to(store, answer_seconds=0.05), link_to(store)
    store.before = forever

    async def ask(link: StoreLink) -> None:
        async with availability.asking():
            await link.resolve("a", [UNKNOWN])

    try:
        with pytest.raises(StoreUnavailableError):
            await ask(hasty)
        clock.now += PAUSE_SECONDS
        probe = asyncio.create_task(ask(link))
        await asyncio.sleep(0)
        probe.cancel()
        await asyncio.wait([probe])
        store.before = None
        await ask(link)
    finally:
        await hasty.close()
        await link.close()


async def test_a_key_that_the_store_refuses_is_said(
    store: StoreServer, remote: RemoteStore
) -> None:
    async def refuse(request: aioweb.Request) -> aioweb.StreamResponse:
        return aioweb.json_response({"code": "key_invalid"}, status=401)

    await hand_in(store)
    assert await read(remote) == DATA
    store.before = refuse
    store.clock.now += 31
    with pytest.raises(StoreRefusedError):
        await remote.blobs.resolve("a", [DIGEST])


async def test_wrong_bytes_are_refused(store: StoreServer, remote: RemoteStore) -> None:
    async def lie(request: aioweb.Request) -> aioweb.StreamResponse | None:
        return aioweb.Response(body=bytes(len(DATA))) if request.method == "GET" else None

    await hand_in(store)
    store.before = lie
    with pytest.raises(WrongBytesError):
        await read(remote)
    assert remote.cache.counts.verification_failures == 2
    store.before = None
    assert await read(remote) == DATA


async def test_an_answer_that_breaks_off_is_no_blob(
    store: StoreServer, remote: RemoteStore
) -> None:
    async def cut(request: aioweb.Request) -> aioweb.StreamResponse | None:
        if request.method != "GET":
            return None
        response = aioweb.StreamResponse()
        response.content_length = len(DATA)
        await response.prepare(request)
        await response.write(DATA[:1000])
        assert request.transport is not None
        request.transport.abort()
        return response

    await hand_in(store)
    store.before = cut
    with pytest.raises(StoreUnavailableError):
        await read(remote)


async def test_a_blob_deleted_between_the_answer_and_the_fetch_is_gone(
    store: StoreServer, remote: RemoteStore
) -> None:
    await hand_in(store)
    resolved = await remote.blobs.resolve("a", [DIGEST])
    await store.store.release("a", DIGEST)
    assert await remote.blobs.prepare("a", resolved.values()) == {DIGEST}
    assert await remote.blobs.resolve("a", [DIGEST]) == {}
    with pytest.raises(BlobUnreadableError):
        await remote.blobs.open("a", DIGEST)


async def test_what_the_store_refuses_for_good_is_not_kept(
    store: StoreServer, remote: RemoteStore
) -> None:
    async def refuse(request: aioweb.Request) -> aioweb.StreamResponse:
        return aioweb.json_response({"code": "store_full"}, status=507)

    store.before = refuse
    with pytest.raises(NotKeptError):
        await remote.blobs.absorb("a", DATA, None)
    with pytest.raises(NotKeptError):
        await remote.prompts.append("a", CHAT, prompt_root(CHAT), KEPT)


async def test_looking_renews_no_lease(store: StoreServer, remote: RemoteStore) -> None:
    await hand_in(store)
    grant = await store.store.stat("a", DIGEST)
    store.clock.now += 40_000
    await remote.blobs.describe("a", [DIGEST], is_use=False)
    assert await store.store.stat("a", DIGEST) == grant
    await remote.blobs.describe("a", [DIGEST])
    assert await store.store.stat("a", DIGEST) != grant


class Keys:
    """What a store says of keys."""

    def __init__(self) -> None:
        self.answer: KeyAnswer | None = KeyAnswer(tenant="a", scopes=("read",), expires_at=None)
        self.asked = 0

    async def __call__(self, request: aioweb.Request) -> aioweb.StreamResponse:
        self.asked += 1
        if self.answer is None:
            return aioweb.json_response({"code": "key_invalid"}, status=404)
        return aioweb.json_response(self.answer.model_dump(mode="json"))


@pytest.fixture
async def keyring(store: StoreServer) -> AsyncIterator[RemoteKeyring]:
    link = link_to(store)
    yield RemoteKeyring(link, Availability("s", store.clock), store.clock)
    await link.close()


async def test_a_key_is_asked_for_once_in_half_a_minute(
    store: StoreServer, keyring: RemoteKeyring
) -> None:
    store.before = keys = Keys()
    for _ in range(3):
        assert await keyring.identify(KEY) == Principal("a", frozenset({"read"}))
    assert keys.asked == 1
    store.clock.now += 31
    keys.answer = None
    assert await keyring.identify(KEY) is None
    assert await keyring.identify(KEY) is None
    assert keys.asked == 3


async def test_what_cannot_be_a_key_is_not_asked_for(
    store: StoreServer, keyring: RemoteKeyring
) -> None:
    store.before = keys = Keys()
    for secret in (None, "", "cck_", "sk-other", KEY + "x"):
        assert await keyring.identify(secret) is None
    assert keys.asked == 0


async def test_a_key_ends_when_it_says(store: StoreServer, keyring: RemoteKeyring) -> None:
    store.before = keys = Keys()
    keys.answer = KeyAnswer(tenant=None, scopes=("gateway",), expires_at=1005)
    assert await keyring.identify(KEY) == Principal(None, frozenset({"gateway"}))
    store.clock.now += 5
    assert await keyring.identify(KEY) is None


async def test_while_the_store_is_away_keys_that_are_known_go_on(
    store: StoreServer, keyring: RemoteKeyring
) -> None:
    store.before = Keys()
    await keyring.identify(KEY)
    await store.stop()
    store.clock.now += 3000
    assert await keyring.identify(KEY) is not None
    with pytest.raises(ProblemError) as caught:
        await keyring.identify("cck_bbbbbbbb_" + "c" * 40)
    assert caught.value.problem.code == "store_unavailable"
    store.clock.now += 1000
    with pytest.raises(ProblemError):
        await keyring.identify(KEY)


async def test_an_origin_tells_gone_from_away(store: StoreServer) -> None:
    link = link_to(store)
    origin = RemoteOrigin(link, Availability("s", store.clock))
    with pytest.raises(BlobUnreadableError):
        await origin.open("a", UNKNOWN)
    await store.stop()
    with pytest.raises(StoreUnavailableError):
        await origin.open("a", UNKNOWN)
    await link.close()


async def test_end_users_are_told_to_the_store(store: StoreServer, remote: RemoteStore) -> None:
    await remote.blobs.absorb("a", DATA, None, end_user="Ann é")
    assert set(await remote.blobs.claim("a", [DIGEST, UNKNOWN], "bob")) == {DIGEST}
    await remote.prompts.append("a", CHAT, prompt_root(CHAT), KEPT, end_user="Ann é")
    erased = await store.store.erasure.erase_end_user("a", "Ann é")
    assert (erased.kept_grants, erased.removed_prompts) == (1, 1)
    erased = await store.store.erasure.erase_end_user("a", "bob")
    assert erased.ended_grants == 1


async def test_files_are_found_and_remembered_half_a_minute(
    store: StoreServer, remote: RemoteStore
) -> None:
    await hand_in(store)
    file = await store.store.files.create("a", DIGEST)
    asked = [file.id, "file-cc" + "a" * 24]
    for _ in range(2):
        assert await remote.blobs.find_files("a", [file.id]) == {file.id: DIGEST}
    assert len(store.seen) == 1
    assert await remote.blobs.find_files("a", asked) == {file.id: DIGEST}
    assert await remote.blobs.find_files("b", asked) == {}
    await store.store.files.remove("a", file.id)
    store.clock.now += 31
    assert await remote.blobs.find_files("a", [file.id]) == {}


async def test_while_the_store_is_away_files_that_are_known_go_on(
    store: StoreServer, remote: RemoteStore
) -> None:
    await hand_in(store)
    file = await store.store.files.create("a", DIGEST)
    assert await remote.blobs.find_files("a", [file.id]) == {file.id: DIGEST}
    await store.stop()
    store.clock.now += 31
    assert await remote.blobs.find_files("a", [file.id]) == {file.id: DIGEST}
    with pytest.raises(StoreUnavailableError, match="file-cc"):
        await remote.blobs.find_files("a", ["file-cc" + "a" * 24])


NAMED = NamedResponse(CHAT, KEPT[0].digest, 1, "vision")


async def test_the_id_of_a_response_is_asked_once_and_goes_on_while_the_store_is_away(
    store: StoreServer, remote: RemoteStore
) -> None:
    await remote.prompts.append("a", CHAT, prompt_root(CHAT), KEPT)
    await remote.responses.put("a", "resp_1", NAMED)
    store.seen.clear()
    assert await remote.responses.find("a", "resp_1") == NAMED
    assert store.seen == []  # it was told so a moment ago
    store.clock.now += 60
    for _ in range(3):
        assert await remote.responses.find("a", "resp_1") == NAMED
        assert await remote.responses.find("a", "resp_2") is None
    path = "/v1/prompts/responses/resp"
    assert store.paths() == [f"GET {path}_1", *[f"GET {path}_2"] * 3]
    await store.stop()
    store.clock.now += 60
    assert await remote.responses.find("a", "resp_1") == NAMED
    with pytest.raises(StoreUnavailableError):
        await remote.responses.find("a", "resp_2")
    with pytest.raises(StoreUnavailableError):
        await remote.responses.find("b", "resp_1")
    store.clock.now += 3600
    with pytest.raises(StoreUnavailableError):
        await remote.responses.find("a", "resp_1")


async def test_an_id_that_was_removed_is_believed_by_no_process_of_the_daemon(
    store: StoreServer, remote: RemoteStore
) -> None:
    await remote.prompts.append("a", CHAT, prompt_root(CHAT), KEPT)
    await remote.responses.put("a", "resp_1", NAMED)
    assert await remote.responses.remove("a", "resp_1")
    assert await remote.responses.find("a", "resp_1") is None
    await remote.responses.put("a", "resp_1", NAMED)
    await store.store.responses.remove("a", "resp_1")  # as another process does
    assert await remote.responses.find("a", "resp_1") == NAMED
    remote.responses.removed("a", "resp_1")
    assert await remote.responses.find("a", "resp_1") is None
