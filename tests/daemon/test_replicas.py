"""An upstream at several addresses: real servers on loopback, of which some are away."""

import asyncio
import json
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import aiohttp
import pytest
from aiohttp import web as aioweb

from coatcheck.daemon import NoMeters, ReplicaChoice, Timeouts, UpstreamConfig
from coatcheck.protocol import Json, JsonObject, prompt_digests

from .conftest import DataUrl, FakeUpstream, Picture, RunDaemon, Running, RunRaw, RunUpstream

QUICK = Timeouts(connect_seconds=5.0, first_byte_seconds=5.0)


@dataclass
class Counted(NoMeters):
    """Keeps which replica took what."""

    told: list[tuple[str, int, ReplicaChoice]] = field(
        default_factory=list[tuple[str, int, ReplicaChoice]]
    )

    def replica(self, upstream: str, index: int, choice: ReplicaChoice) -> None:
        self.told.append((upstream, index, choice))


@dataclass
class Cluster:
    """A daemon before some replicas."""

    daemon: Running
    replicas: Sequence[FakeUpstream]
    meters: Counted

    @property
    def loads(self) -> list[int]:
        return [len(replica.seen) for replica in self.replicas]

    def clear(self) -> None:
        for replica in self.replicas:
            replica.seen.clear()
        self.meters.told.clear()

    async def post(self, path: str, body: JsonObject) -> tuple[int, bytes]:
        async with self.daemon.http.post(f"{self.daemon.url}{path}", json=body) as answer:
            return answer.status, await answer.read()


def free_url() -> str:
    """Return an address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


async def lists(request: aioweb.Request) -> aioweb.StreamResponse:
    """Answer whatever is asked with a list of models."""
    return aioweb.json_response({"object": "list", "data": [{"id": "m", "object": "model"}]})


Start = Callable[..., Awaitable[Cluster]]


@pytest.fixture
def start(run_daemon: RunDaemon, run_upstream: RunUpstream) -> Start:
    """Start a daemon before three replicas, and before those at `away`."""

    async def run(
        respond: Callable[[aioweb.Request], Awaitable[aioweb.StreamResponse]] | None = None,
        *,
        away: int = 0,
        mode: Literal["pass", "observe", "on"] = "on",
        spill_requests: int = 8,
    ) -> Cluster:
        replicas = [await run_upstream(respond or lists) for _ in range(3)]
        urls = (*(free_url() for _ in range(away)), *(up.config.base_url for up in replicas))
        meters = Counted()
        config = UpstreamConfig(
            "many",
            base_url=urls[0],
            base_urls=urls,
            spill_requests=spill_requests,
            mode=mode,
            timeouts=QUICK,
        )
        return Cluster(await run_daemon(config, meters=meters), replicas, meters)

    return run


def talk(name: str, turns: int, system: str = "You are a help.") -> list[list[Json]]:
    """Return the message lists of a conversation's turns."""
    messages: list[Json] = [{"role": "system", "content": system}]
    lists: list[list[Json]] = []
    for turn in range(turns):
        messages.append({"role": "user", "content": f"{name} asks {turn}"})
        lists.append(list(messages))
        messages.append({"role": "assistant", "content": f"to {name}: {turn}"})
    return lists


async def test_a_conversation_stays_and_conversations_spread(start: Start) -> None:
    cluster = await start()
    where: dict[str, set[int]] = {}
    for n in range(60):
        for messages in talk(f"user {n}", 3):
            before = cluster.loads
            body: JsonObject = {"model": "m", "messages": messages}
            assert (await cluster.post("/v1/chat/completions", body))[0] == 200
            moved = [after - old for after, old in zip(cluster.loads, before, strict=True)]
            where.setdefault(f"user {n}", set()).add(moved.index(1))
    assert all(len(indices) == 1 for indices in where.values())
    counts = Counter(index for indices in where.values() for index in indices)
    assert all(count >= 10 for count in counts.values())
    assert len(counts) == 3
    assert {choice for _, _, choice in cluster.meters.told} == {"own"}


async def test_it_stays_in_whatever_form_it_comes(
    start: Start, picture: Picture, data_url: DataUrl
) -> None:
    """Inline, by ref, in an envelope: the root is that of the ref form."""
    cluster = await start()
    for n in range(8):
        data = picture(size=(n + 2, 3))
        digest = cluster.daemon.blobs.add(data)
        say: Json = {"type": "text", "text": "What is this?"}
        lists: list[list[Json]] = []
        for url in (data_url(data), f"blob:{digest}"):
            image: Json = {"type": "image_url", "image_url": {"url": url}}
            lists.append([{"role": "user", "content": [say, image]}])
        cluster.clear()
        for messages in lists:
            body: JsonObject = {"model": "m", "messages": messages}
            assert (await cluster.post("/v1/chat/completions", body))[0] == 200
        kept = prompt_digests("openai.chat", lists[1])[-1]
        keep: JsonObject = {"model": "m", "coatcheck": {"parent": None, "append": lists[1]}}
        assert (await cluster.post("/v1/chat/completions", keep))[0] == 200
        append: list[Json] = [{"role": "user", "content": "And this?"}]
        more: JsonObject = {"model": "m", "coatcheck": {"parent": kept, "append": append}}
        assert (await cluster.post("/v1/chat/completions", more))[0] == 200
        assert sorted(cluster.loads) == [0, 0, 4]
        bodies = [json.loads(seen.body) for up in cluster.replicas for seen in up.seen]
        assert len({json.dumps(body["messages"][0]) for body in bodies}) == 1


async def test_turns_without_messages_go_round(start: Start) -> None:
    cluster = await start()
    for _ in range(9):
        status, _ = await cluster.post("/v1/chat/completions", {"model": "m", "messages": []})
        assert status == 200
    assert cluster.loads == [3, 3, 3]
    assert {choice for _, _, choice in cluster.meters.told} == {"any"}


@pytest.mark.parametrize("mode", ["pass", "observe"])
async def test_turns_that_pass_go_round(start: Start, mode: str) -> None:
    cluster = await start(mode=mode)
    for n in range(6):
        body: JsonObject = {"model": "m", "messages": talk(str(n), 1)[0]}
        assert (await cluster.post("/v1/chat/completions", body))[0] == 200
    assert cluster.loads == [2, 2, 2]


async def test_what_is_no_turn_goes_to_the_first(start: Start) -> None:
    """What one replica is told, such as a file, no other one knows."""
    cluster = await start()
    for _ in range(4):
        assert (await cluster.post("/v1/embeddings", {"model": "m", "input": "x"}))[0] == 200
        async with cluster.daemon.http.get(f"{cluster.daemon.url}/v1/models") as answer:
            assert answer.status == 200
    assert cluster.loads == [8, 0, 0]


async def test_a_replica_that_is_away_costs_no_request(start: Start) -> None:
    cluster = await start(away=1)
    for n in range(30):
        for messages in talk(f"user {n}", 2):
            body: JsonObject = {"model": "m", "messages": messages}
            assert (await cluster.post("/v1/chat/completions", body))[0] == 200
    assert sum(cluster.loads) == 60  # each once
    choices = Counter(choice for _, index, choice in cluster.meters.told if index)
    assert choices["other"] > 0
    assert choices["spilled"] == 0
    tried = [told for told in cluster.meters.told if told[1] == 0]
    assert {choice for _, _, choice in tried} == {"unconnected"}
    assert len(tried) < 8  # not by each conversation of its own
    async with cluster.daemon.http.get(f"{cluster.daemon.url}/v1/models") as answer:
        assert answer.status == 200


async def test_all_away_is_unreachable(run_daemon: RunDaemon) -> None:
    urls = tuple(free_url() for _ in range(3))
    meters = Counted()
    daemon = await run_daemon(UpstreamConfig("m", base_url=urls[0], base_urls=urls), meters=meters)
    for _ in range(2):
        status, body, _ = await daemon.chat({"model": "m", "messages": talk("a", 1)[0]})
        assert status == 502
        assert isinstance(body, dict)
        assert "upstream_unreachable" in str(body)
        assert all(url not in str(body) for url in urls)
    assert sorted(index for _, index, _ in meters.told) == [0, 0, 1, 1, 2, 2]


async def test_what_may_have_reached_a_model_is_not_sent_again(
    run_daemon: RunDaemon, run_raw: RunRaw
) -> None:
    heard: list[int] = []

    def hangs_up(index: int) -> Callable[..., Awaitable[None]]:
        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(index)

        return speak

    urls = tuple([await run_raw(hangs_up(index)) for index in range(3)])
    daemon = await run_daemon(UpstreamConfig("m", base_url=urls[0], base_urls=urls))
    for n in range(10):
        heard.clear()
        status, body, _ = await daemon.chat({"model": "m", "messages": talk(str(n), 1)[0]})
        assert (status, "upstream_hung_up" in str(body)) == (502, True)
        assert len(heard) == 1


async def test_a_refusal_of_an_upstreams_is_not_sent_elsewhere(start: Start) -> None:
    async def busy(request: aioweb.Request) -> aioweb.StreamResponse:
        return aioweb.json_response({"error": {"message": "busy"}}, status=503)

    cluster = await start(busy)
    status, _ = await cluster.post(
        "/v1/chat/completions", {"model": "m", "messages": talk("a", 1)[0]}
    )
    assert status == 503
    assert sum(cluster.loads) == 1


async def test_under_load_a_conversation_spills_and_comes_back(start: Start) -> None:
    gate = asyncio.Event()
    arrived = asyncio.Semaphore(0)

    async def waits(request: aioweb.Request) -> aioweb.StreamResponse:
        arrived.release()
        await gate.wait()
        return aioweb.json_response({"ok": True})

    cluster = await start(waits, spill_requests=2)
    body: JsonObject = {"model": "m", "messages": talk("busy", 1)[0]}
    running: list[asyncio.Task[tuple[int, bytes]]] = []
    for _ in range(12):
        running.append(asyncio.create_task(cluster.post("/v1/chat/completions", body)))
        await arrived.acquire()
    loads = sorted(cluster.loads)
    assert loads[-1] <= 6  # 1.25 of its share, rounded up
    assert loads[0] >= 2
    assert Counter(choice for _, _, choice in cluster.meters.told) == Counter()
    gate.set()
    assert {status for status, _ in await asyncio.gather(*running)} == {200}
    choices = Counter(choice for _, _, choice in cluster.meters.told)
    assert choices["own"] == loads[-1]
    assert choices["own"] + choices["spilled"] == 12
    cluster.clear()
    assert (await cluster.post("/v1/chat/completions", body))[0] == 200
    assert [choice for _, _, choice in cluster.meters.told] == ["own"]


async def test_a_client_that_goes_away_is_counted_out(start: Start) -> None:
    arrived = asyncio.Event()
    left = asyncio.Event()

    async def hangs(request: aioweb.Request) -> aioweb.StreamResponse:
        arrived.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()
        return aioweb.Response()

    cluster = await start(hangs, spill_requests=1)
    body: JsonObject = {"model": "m", "messages": talk("gone", 1)[0]}
    seen: list[list[int]] = []
    for _ in range(3):
        arrived.clear()
        left.clear()
        cluster.clear()
        task = asyncio.create_task(cluster.post("/v1/chat/completions", body))
        await arrived.wait()
        seen.append(cluster.loads)
        task.cancel()
        with pytest.raises((asyncio.CancelledError, aiohttp.ClientError)):
            await task
        await left.wait()
    assert seen[0] == seen[1] == seen[2]
