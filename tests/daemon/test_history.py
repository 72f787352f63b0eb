"""`previous_response_id` where history is ours: what the upstream gets, what is kept, who is refused."""

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from aiohttp import web as aioweb

from coatcheck.daemon import (
    Daemon,
    DaemonConfig,
    EmbeddedBlobs,
    EmbeddedPrompts,
    EmbeddedResponses,
    GatewayConfig,
    NoBlobs,
    NoMeters,
    NoPrompts,
    RemoteFace,
    RemoteStore,
    ResponseOutcome,
    UpstreamConfig,
)
from coatcheck.daemon.answers import AnswerLimits
from coatcheck.store import Store, StoreConfig
from coatcheck.web import Server, build_app, join_faces

from .remote import ALICE, BOB, Keyring, StoreServer, forever, open_remote
from .responses_talk import ask, converse, converse_whole, data_url, items_of, user
from .strict_responses import Item, StrictResponses, noisy, painted, strict_responses

DAY = 24 * 3600


@dataclass
class Counted(NoMeters):
    """How often what came of responses."""

    outcomes: list[str] = field(default_factory=list[str])

    def response(self, outcome: ResponseOutcome) -> None:
        self.outcomes.append(outcome)


@dataclass
class Rig:
    """A daemon before a provider, over a store in memory, in this process or behind a link."""

    store: Store
    provider: StrictResponses
    clock: list[float]
    kind: str
    url: str = ""
    remote: StoreServer | None = None
    history: str = "coatcheck"
    folder: Path = Path()
    gateway: GatewayConfig = field(default_factory=GatewayConfig)
    source: RemoteStore | None = None
    meters: Counted = field(default_factory=Counted)
    _running: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self) -> None:
        """Start the daemon, or start it again with nothing remembered."""
        await self._running.aclose()
        config = UpstreamConfig(
            "vision",
            dialect="openai.responses",
            base_url=self.provider.url,
            history=self.history,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        )
        remote: RemoteStore | None = None
        if self.remote is not None:
            self.source = remote = await open_remote(self.remote, self.folder)
            self._running.push_async_callback(remote.close)
        daemon = Daemon.open(
            DaemonConfig(upstreams=(config,), gateway=self.gateway),
            remote.blobs if remote else EmbeddedBlobs(self.store),
            remote.prompts if remote else EmbeddedPrompts(self.store),
            responses=remote.responses if remote else EmbeddedResponses(self.store),
            meters=self.meters,
        )
        self._running.push_async_callback(daemon.close)
        table = join_faces([daemon.face()], title="t", version="0")
        server = Server(build_app(table, keyring=Keyring()))
        self.url = (await server.start()).url
        self._running.push_async_callback(server.stop)

    async def stop(self) -> None:
        await self._running.aclose()

    def sdk(self, key: str = ALICE) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=2)


@pytest.fixture
async def provider() -> AsyncIterator[StrictResponses]:
    async with strict_responses() as running:
        yield running


@pytest.fixture(params=["embedded", "remote"])
async def rig(
    request: pytest.FixtureRequest, provider: StrictResponses, tmp_path: Path
) -> AsyncIterator[Rig]:
    clock = [1000.0]
    store = await Store.open(StoreConfig(None), clock=lambda: clock[0])
    remote: StoreServer | None = None
    if request.param == "remote":
        remote = StoreServer(store)
        await remote.start()
    rig = Rig(store, provider, clock, request.param, remote=remote, folder=tmp_path)
    await rig.start()
    yield rig
    await rig.stop()
    if remote is not None:
        await remote.stop()
    await store.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_an_upstream_gets_what_a_client_that_sends_everything_sends(
    rig: Rig, stream: bool
) -> None:
    async with rig.sdk() as ai:
        answers = await converse(ai, stream=stream)
    async with strict_responses() as direct:
        async with openai.AsyncOpenAI(base_url=direct.url, api_key="k") as ai:
            expected = await converse_whole(ai, stream=stream)
        assert not direct.refused
        assert not rig.provider.refused
        bodies = [json.loads(body) for body in rig.provider.bodies]
        assert bodies == [json.loads(body) for body in direct.bodies]
    assert [items_of(answer) for answer in answers] == [items_of(answer) for answer in expected]
    assert [len(body["input"]) for body in bodies] == sorted(len(body["input"]) for body in bodies)


async def test_each_turns_input_begins_with_the_one_before(rig: Rig) -> None:
    """Byte for byte: what providers cache prompts by."""
    async with rig.sdk() as ai:
        await converse(ai, stream=True)
    inputs = [written_input(body) for body in rig.provider.bodies]
    for before, after in pairwise(inputs):
        assert after.startswith(before.removesuffix(b"]") + b",")


async def test_an_image_crosses_once(rig: Rig) -> None:
    """What the client sends does not grow, whatever the upstream gets."""
    noise = noisy()
    sent: list[int] = []

    async def count(request: Any) -> None:
        sent.append(len(request.content))

    async with rig.sdk() as ai:
        ai._client.event_hooks = {"request": [count]}  # pyright: ignore[reportPrivateUsage]
        response = await ask(ai, stream=False, input=[user("say one", noise)])
        for _ in range(5):
            response = await ask(
                ai, stream=False, input="say more", previous_response_id=response.id
            )
    assert sent[0] > len(noise)
    assert max(sent[1:]) < 1000
    for body in rig.provider.bodies:
        assert data_url(noise).encode() in body


async def test_instructions_are_not_carried_over(rig: Rig) -> None:
    async with rig.sdk() as ai:
        first = await ai.responses.create(model="m", instructions="Be kind.", input="say one")
        await ai.responses.create(model="m", input="say two", previous_response_id=first.id)
    assert json.loads(rig.provider.bodies[1]) == {
        "model": "m",
        "input": [
            {"role": "user", "content": "say one"},
            *items_of(first),
            {"role": "user", "content": "say two"},
        ],
    }


@pytest.mark.parametrize("seed", range(30 if os.environ.get("COATCHECK_NIGHTLY") else 1))
async def test_a_tree_of_turns_is_what_a_model_of_it_says(rig: Rig, seed: int) -> None:
    """Branches anywhere, stored or not, streamed or not, with deletions and daemons started anew."""
    chance = random.Random(seed)
    lists: dict[str, list[Item]] = {}
    gone: list[str] = ["resp_never"]
    images = [noisy(number, 20) for number in range(3)]

    async def one_turn() -> None:
        parent = chance.choice([None, *lists])
        text = f"think say {chance.randrange(10)}" + " call x" * chance.randrange(2)
        new: Any = chance.choice([text, [user(text)], [user(text, chance.choice(images))]])
        items: list[Item] = [{"role": "user", "content": new}] if isinstance(new, str) else new
        before = lists[parent] if parent else []
        calls = [item for item in before if item.get("type") == "function_call"]
        answered = {item["call_id"] for item in before if "output" in item}
        owed = [item for item in calls if item["call_id"] not in answered]
        outputs = [
            {"type": "function_call_output", "call_id": item["call_id"], "output": "say so"}
            for item in owed
        ]
        if outputs:
            new = items = [*outputs, *items]
        is_stored = chance.random() < 0.8
        named = {"previous_response_id": parent} if parent else {}
        async with rig.sdk() as ai:
            response = await ask(
                ai, stream=chance.random() < 0.5, input=new, store=is_stored, **named
            )
        sent = rig.provider.inputs[-1]
        assert sent == (new if parent is None else [*before, *items])
        if is_stored:
            lists[response.id] = [*before, *items, *items_of(response)]
        else:
            gone.append(response.id)

    for _ in range(25):
        match chance.randrange(8):
            case 0:
                await rig.start()
            case 1 if lists:
                dropped = chance.choice([*lists])
                async with rig.sdk() as ai:
                    await ai.responses.delete(dropped)
                del lists[dropped]
                gone.append(dropped)
            case 2:
                async with rig.sdk() as ai:
                    await expect_unknown(rig, ai, chance.choice(gone))
            case _:
                await one_turn()
    assert not rig.provider.refused


async def test_two_requests_continue_one_response(rig: Rig) -> None:
    async with rig.sdk() as ai:
        root = await ask(ai, stream=False, input="say root")
        left, right = await asyncio.gather(
            *(
                ask(ai, stream=True, input=f"say {side}", previous_response_id=root.id)
                for side in ("left", "right")
            )
        )
        for side, branch in (("left", left), ("right", right)):
            await ask(ai, stream=False, input="say leaf", previous_response_id=branch.id)
            assert rig.provider.inputs[-1] == [
                {"role": "user", "content": "say root"},
                *items_of(root),
                {"role": "user", "content": f"say {side}"},
                *items_of(branch),
                {"role": "user", "content": "say leaf"},
            ]


async def test_what_is_not_stored_is_unknown_and_leaves_nothing(rig: Rig) -> None:
    async with rig.sdk() as ai:
        root = await ask(ai, stream=False, input="say root")
        before = await kept_messages(rig)
        for stream in (False, True):
            response = await ask(
                ai, stream=stream, input="say one", store=False, previous_response_id=root.id
            )
            await expect_unknown(rig, ai, response.id)
    assert await kept_messages(rig) == before
    assert len(rig.provider.inputs[-1]) == 3  # it was continued all the same


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("what", ["cut", "fail", "break"])
async def test_what_did_not_end_well_is_unknown(rig: Rig, what: str, stream: bool) -> None:
    if what == "break" and not stream:
        return  # it is about events
    body = {"model": "m", "input": f"say one {what}", "stream": stream}
    text = ""
    try:
        async with aiohttp.ClientSession() as http, post(http, rig, body) as answer:
            async for chunk in answer.content.iter_any():
                text += chunk.decode()
    except aiohttp.ClientError:
        assert what != "fail"
    async with rig.sdk() as ai:
        await expect_unknown(rig, ai, "resp_0002" if what != "fail" else "resp_0001")


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_ran_out_of_tokens_is_continued(rig: Rig, stream: bool) -> None:
    async with rig.sdk() as ai:
        short = await ask(ai, stream=stream, input="short")
        assert short.status == "incomplete"
        await ask(ai, stream=stream, input="say on", previous_response_id=short.id)
    assert rig.provider.inputs[-1][1:-1] == items_of(short)
    assert items_of(short)


async def test_an_answer_without_items_is_continued(rig: Rig) -> None:
    async with rig.sdk() as ai:
        silent = await ask(ai, stream=False, input="nothing")
        await ask(ai, stream=True, input="say on", previous_response_id=silent.id)
    assert [item["content"] for item in rig.provider.inputs[-1]] == ["nothing", "say on"]


async def test_an_unknown_id_is_refused_like_openai_does_and_once(rig: Rig) -> None:
    async with rig.sdk() as ai:
        for named in ("resp_unknown", "", "a b", "x" * 600, "../resp", "r\u00e9sp"):
            await expect_unknown(rig, ai, named)
    assert not rig.provider.bodies
    async with aiohttp.ClientSession() as http:
        body = {"model": "m", "input": "hi", "previous_response_id": "resp_1"}
        async with post(http, rig, body) as answer:
            assert answer.status == 400
            assert answer.headers["x-should-retry"] == "false"
            assert await answer.json() == {
                "error": {
                    "message": "Previous response with id 'resp_1' not found.",
                    "type": "invalid_request_error",
                    "param": "previous_response_id",
                    "code": "previous_response_not_found",
                }
            }


async def test_another_tenants_id_is_unknown_however_it_is_guessed(rig: Rig) -> None:
    async with rig.sdk() as ai, rig.sdk(BOB) as bobs:
        ours = await ask(ai, stream=False, input="say ours")
        await expect_unknown(rig, bobs, ours.id)
        # An upstream that gives both the same id: each has their own.
        rig.provider.forget()
        theirs = await ask(bobs, stream=False, input="say theirs")
        assert theirs.id == ours.id
        for client, said in ((ai, "say ours"), (bobs, "say theirs")):
            await ask(client, stream=False, input="say on", previous_response_id=ours.id)
            assert rig.provider.inputs[-1][0]["content"] == said
        async with aiohttp.ClientSession() as http:
            assert (await delete(http, rig, ours.id, BOB))[0] == 200
        await expect_unknown(rig, bobs, ours.id)
        await ask(ai, stream=False, input="say on", previous_response_id=ours.id)


async def test_an_id_expires_with_its_list_and_a_use_renews_it(rig: Rig) -> None:
    async def wait(days: float) -> None:
        rig.clock[0] += days * DAY
        await rig.store.prompts.flush()
        await rig.store.sweep.run()
        await rig.start()

    async with rig.sdk() as ai:
        first = await ask(ai, stream=False, input="say one")
    await wait(3 / 4)
    async with rig.sdk() as ai:
        second = await ask(ai, stream=False, input="say two", previous_response_id=first.id)
    await wait(3 / 4)
    async with rig.sdk() as ai:
        await ask(ai, stream=False, input="say on", previous_response_id=first.id)
    await wait(5 / 4)
    async with rig.sdk() as ai:
        for response in (first, second):
            await expect_unknown(rig, ai, response.id)


async def test_what_is_erased_is_unknown(rig: Rig) -> None:
    """A daemon elsewhere may remember it for half a minute; one that is started again does not."""
    async with rig.sdk() as ai:
        anns = await ask(ai, stream=False, input="say one", safety_identifier="ann")
        bobs = await ask(ai, stream=False, input="say two", safety_identifier="bob")
        follows = await ask(ai, stream=False, input="say on", previous_response_id=anns.id)
    erased = await rig.store.erasure.erase_end_user("a", "ann")
    assert erased.left is not None
    assert erased.left.is_nothing
    await rig.start()
    async with rig.sdk() as ai:
        for response in (anns, follows):
            await expect_unknown(rig, ai, response.id)
        await ask(ai, stream=False, input="say on", previous_response_id=bobs.id)
    await rig.store.erasure.erase_tenant("a")
    await rig.start()
    async with rig.sdk() as ai:
        await expect_unknown(rig, ai, bobs.id)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_daemon_that_was_started_again_goes_on(rig: Rig, stream: bool) -> None:
    async with rig.sdk() as ai:
        first = await ask(ai, stream=stream, input=[user("say one", painted("red"))])
    await rig.start()
    async with rig.sdk() as ai:
        await ask(ai, stream=stream, input="say two", previous_response_id=first.id)
    assert rig.provider.inputs[-1][0] == user("say one", painted("red"))


async def test_a_deleted_response_is_unknown_and_its_upstream_is_told(rig: Rig) -> None:
    async with rig.sdk() as ai, aiohttp.ClientSession() as http:
        first = await ask(ai, stream=False, input="say one")
        second = await ask(ai, stream=False, input="say two", previous_response_id=first.id)
        await ai.responses.delete(first.id)
        assert rig.provider.paths == [f"DELETE /v1/responses/{first.id}"]
        await expect_unknown(rig, ai, first.id)
        await ask(ai, stream=False, input="say on", previous_response_id=second.id)
        # Now it is nobody's, and passes.
        assert (await delete(http, rig, first.id))[0] == 404
        rig.provider.delete_status = 500
        assert (await delete(http, rig, second.id))[0] == 500
        await ask(ai, stream=False, input="say on", previous_response_id=second.id)
        rig.provider.delete_status = 200
        status, told = await delete(http, rig, second.id)
        assert (status, told) == (200, {"id": second.id, "object": "response", "deleted": True})
        await expect_unknown(rig, ai, second.id)


async def test_a_response_is_got_from_its_upstream(rig: Rig) -> None:
    async with rig.sdk() as ai:
        first = await ask(ai, stream=False, input="say one")
        with pytest.raises(openai.NotFoundError):
            await ai.responses.retrieve(first.id)
        rig.provider.stored.add(first.id)
        assert (await ai.responses.retrieve(first.id)).id == first.id
        with pytest.raises(openai.NotFoundError):
            await ai.responses.input_items.list(first.id)
    assert rig.provider.paths[-1] == f"GET /v1/responses/{first.id}/input_items"


async def test_tokens_of_a_continued_turn_are_counted(rig: Rig) -> None:
    async with rig.sdk() as ai:
        first = await ask(ai, stream=False, input=[user("say one", painted("red"))])
        asked: Any = {"model": "m", "input": "say two"}
        alone = await ai.responses.input_tokens.count(**asked)
        counted = await ai.responses.input_tokens.count(**asked, previous_response_id=first.id)
        assert counted.input_tokens > alone.input_tokens + 100
        with pytest.raises(openai.BadRequestError):
            await ai.responses.input_tokens.count(**asked, previous_response_id="resp_x")


async def test_the_prompt_is_named_and_may_be_continued_by_an_envelope(rig: Rig) -> None:
    async with aiohttp.ClientSession() as http:
        async with post(http, rig, {"model": "m", "input": "say one"}) as answer:
            first, headers = await answer.json(), answer.headers
        # The same turn goes on by what its answer is called, and by its id.
        more = [{"role": "user", "content": "say two"}]
        envelope = {"parent": headers["Coatcheck-Answer"], "append": more}
        async with post(http, rig, {"model": "m", "coatcheck": envelope}) as answer:
            assert answer.status == 200
            by_envelope = answer.headers["Coatcheck-Prompt"]
        named = {"model": "m", "previous_response_id": first["id"]}
        async with post(http, rig, {**named, "input": more}) as answer:
            assert answer.headers["Coatcheck-Prompt"] == by_envelope
        envelope = {"parent": None, "append": more}
        async with post(http, rig, {**named, "coatcheck": envelope}) as answer:
            assert answer.headers["Coatcheck-Prompt"] == by_envelope
        assert rig.provider.inputs[1:] == [rig.provider.inputs[1]] * 3
        # A list that an envelope names stands behind what the id names.
        envelope = {"parent": headers["Coatcheck-Prompt"], "append": more}
        async with post(http, rig, {**named, "coatcheck": envelope}) as answer:
            assert answer.status == 200
        texts = [item["content"] for item in rig.provider.inputs[-1] if item.get("role") == "user"]
        assert texts == ["say one", "say one", "say two"]


async def test_a_request_that_contradicts_itself_is_refused(rig: Rig) -> None:
    async with rig.sdk() as ai:
        first = await ask(ai, stream=False, input="say one")
        with pytest.raises(openai.BadRequestError) as refused:
            await ask(
                ai,
                stream=False,
                input="say two",
                previous_response_id=first.id,
                conversation="conv_1",
            )
        assert refused.value.code == "mutually_exclusive_parameters"
        # A conversation alone is the upstream's, and what belongs to it is not kept.
        spoken = await ask(ai, stream=False, input="say two", conversation="conv_1")
        assert json.loads(rig.provider.bodies[-1])["conversation"] == "conv_1"
        await expect_unknown(rig, ai, spoken.id)
        for wrong in (7, {"id": first.id}, True):
            with pytest.raises(openai.BadRequestError) as refused:
                await ask(ai, stream=False, input="say two", previous_response_id=wrong)
            assert refused.value.param == "previous_response_id"
        with pytest.raises(openai.BadRequestError):
            await ask(ai, stream=False, input=7, previous_response_id=first.id)
    assert len(rig.provider.bodies) == 2
    assert rig.meters.outcomes == ["kept", "not_found", "found"]


async def test_a_blob_that_is_gone_is_named_in_the_whole_list(rig: Rig) -> None:
    async with rig.sdk() as ai:
        unknown = "blob:sha256:" + "0" * 64
        first = await ask(ai, stream=False, input="say one")
        part = {"type": "input_image", "image_url": unknown, "detail": "low"}
        with pytest.raises(openai.NotFoundError) as refused:
            await ask(
                ai,
                stream=False,
                input=[{"role": "user", "content": [part]}],
                previous_response_id=first.id,
            )
    told: Any = refused.value.body
    assert told["missing"][0]["path"] == "input.2.content.0.image_url"


@pytest.fixture
async def far(provider: StrictResponses, tmp_path: Path) -> AsyncIterator[Rig]:
    """A daemon whose store can be stopped."""
    store = await StoreServer.open()
    rig = Rig(store.store, provider, [0.0], "remote", remote=store, folder=tmp_path)
    await rig.start()
    yield rig
    await rig.stop()
    await store.close()


async def test_while_the_store_is_away_a_conversation_goes_on_and_is_told_it_later(
    far: Rig,
) -> None:
    assert far.remote is not None
    async with far.sdk() as ai:
        known = await ask(ai, stream=False, input="say one")
        await far.remote.stop()
        away = await ask(ai, stream=False, input="say two", previous_response_id=known.id)
        more = await ask(ai, stream=True, input="say three", previous_response_id=away.id)
        with pytest.raises(openai.InternalServerError) as refused:
            await ask(
                ai.with_options(max_retries=0),
                stream=False,
                input="say x",
                previous_response_id="resp_of_another_daemon",
            )
        assert refused.value.status_code == 503
        await far.remote.start()
        assert far.source is not None
        await far.source.responses.flush()
    await far.start()
    async with far.sdk() as ai:
        await ask(ai, stream=False, input="say on", previous_response_id=more.id)
    texts = [item["content"] for item in far.provider.inputs[-1] if item.get("role") == "user"]
    assert texts == ["say one", "say two", "say three", "say on"]


async def test_what_a_daemon_could_not_tell_its_store_before_it_ended_is_unknown(far: Rig) -> None:
    assert far.remote is not None
    async with far.sdk() as ai:
        known = await ask(ai, stream=False, input="say one")
        await far.remote.stop()
        away = await ask(ai, stream=False, input="say two", previous_response_id=known.id)
    await far.start()
    await far.remote.start()
    async with far.sdk() as ai:
        await expect_unknown(far, ai, away.id)
        await ask(ai, stream=False, input="say two", previous_response_id=known.id)


async def test_an_answer_waits_for_a_slow_store_for_a_moment_only(far: Rig) -> None:
    async def hang(request: aioweb.Request) -> aioweb.StreamResponse | None:
        is_put = request.method == "PUT" and "/responses/" in request.path
        return await forever(request) if is_put else None

    assert far.remote is not None
    far.gateway = GatewayConfig(answers=AnswerLimits(append_seconds=0.2))
    await far.start()
    far.remote.before = hang
    async with far.sdk() as ai:
        hung = await ask(ai, stream=True, input="say one")
        await ask(ai, stream=True, input="say two", previous_response_id=hung.id)
        await ai.responses.delete(hung.id)
        await expect_unknown(far, ai, hung.id)


async def test_an_edge_leaves_ids_to_the_daemon_behind_it(rig: Rig) -> None:
    """What it names of a prompt that the daemon keeps stands behind what the id stands for."""
    config = UpstreamConfig(
        "far", dialect="openai.responses", base_url=f"{rig.url}/v1", reuse="coatcheck"
    )
    async with AsyncExitStack() as stack:
        edge = Daemon.open(
            DaemonConfig(upstreams=(config,), has_echo=False), NoBlobs(), NoPrompts()
        )
        stack.push_async_callback(edge.close)
        far = RemoteFace.open((config,), NoMeters())
        stack.push_async_callback(far.close)
        table = join_faces([far.face(), edge.face()], title="t", version="0")
        server = Server(build_app(table))
        url = (await server.start()).url
        stack.push_async_callback(server.stop, 0)
        ai = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=ALICE)
        stack.push_async_callback(ai.close)
        answers = await converse(ai, stream=True)
        again = {"role": "user", "content": "say again"}
        alone = await ask(ai, stream=False, input=[again])
        await ask(ai, stream=False, input=[again, again], previous_response_id=alone.id)
        await expect_unknown(rig, ai, "resp_unknown")
        await ai.responses.delete(alone.id)
        await expect_unknown(rig, ai, alone.id)
    async with (
        strict_responses() as direct,
        openai.AsyncOpenAI(base_url=direct.url, api_key="k") as ai,
    ):
        expected = await converse_whole(ai, stream=True)
        assert rig.provider.inputs[:10] == direct.inputs
    assert [items_of(answer) for answer in answers] == [items_of(answer) for answer in expected]
    assert rig.provider.inputs[11] == [again, *items_of(alone), again, again]
    assert not rig.provider.refused


async def test_history_that_is_the_upstreams_is_left_alone(
    provider: StrictResponses, tmp_path: Path
) -> None:
    store = await Store.open(StoreConfig(None))
    rig = Rig(store, provider, [0.0], "embedded", history="upstream")
    await rig.start()
    try:
        async with rig.sdk() as ai:
            with pytest.raises(openai.BadRequestError):
                await ask(ai, stream=False, input="say one", previous_response_id="resp_1")
        body = json.loads(provider.bodies[0])
        assert (body["previous_response_id"], body["input"]) == ("resp_1", "say one")
        async with aiohttp.ClientSession() as http:
            async with post(http, rig, {"model": "m", "input": "say one"}) as answer:
                assert "Coatcheck-Prompt" not in answer.headers
            assert (await delete(http, rig, "resp_0002"))[0] == 404
        assert await store.prompts.count() == 0
    finally:
        await rig.stop()
        await store.close()


def post(http: aiohttp.ClientSession, rig: Rig, body: Item, key: str = ALICE) -> Any:
    headers = {"Authorization": f"Bearer {key}"}
    return http.post(f"{rig.url}/v1/responses", json=body, headers=headers)


async def delete(
    http: aiohttp.ClientSession, rig: Rig, response_id: str, key: str = ALICE
) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {key}"}
    url = f"{rig.url}/v1/responses/{response_id}"
    async with http.delete(url, headers=headers) as answer:
        return answer.status, await answer.json()


async def expect_unknown(rig: Rig, ai: openai.AsyncOpenAI, response_id: str) -> None:
    """Expect that nothing goes upstream, and that the SDK does not try again."""
    before = len(rig.provider.bodies)
    with pytest.raises(openai.BadRequestError) as refused:
        await ask(ai, stream=False, input="say x", previous_response_id=response_id)
    assert refused.value.code == "previous_response_not_found"
    assert refused.value.param == "previous_response_id"
    assert len(rig.provider.bodies) == before


async def kept_messages(rig: Rig) -> int:
    await rig.store.prompts.flush()
    return await rig.store.prompts.count()


def written_input(body: bytes) -> bytes:
    """Return the text of a body's input as it was written."""
    text = body.decode()
    start = text.index('"input":') + len('"input":')
    _, end = json.JSONDecoder().raw_decode(text, start)
    return text[start:end].encode()


async def test_an_id_is_no_step_in_a_path(rig: Rig) -> None:
    """The store is asked for it by a path, with the daemon's own key."""
    async with rig.sdk() as ai:
        for previous in (".", ".."):
            with pytest.raises(openai.BadRequestError) as caught:
                await ai.responses.create(model="m", input="Hi", previous_response_id=previous)
            assert caught.value.code == "previous_response_not_found"
    assert not rig.provider.bodies
