"""The wrappers tell what passes, and change nothing of it."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from coatcheck.daemon import (
    KeptMessage,
    Meters,
    NoMeters,
    PromptOutcome,
    ResolveStep,
    UpstreamConfig,
)
from coatcheck.daemon.body import RawBody
from coatcheck.daemon.errors import NotKeptError, StoreUnavailableError, UpstreamTimeoutError
from coatcheck.daemon.metered import MeteredBlobs, MeteredPrompts, MeteredUpstream
from coatcheck.daemon.upstream import Answer, Outgoing
from coatcheck.protocol import Digest, prompt_root

from .conftest import MemoryBlobs, MemoryPrompts

OUTGOING = Outgoing("POST", "/turn", [], RawBody(b"question"))


class Told(NoMeters):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def resolved(self, step: ResolveStep, seconds: float) -> None:
        self.told.append(("resolved", step, seconds))

    def first_byte(self, upstream: str, seconds: float) -> None:
        self.told.append(("first_byte", upstream, seconds))

    def answered(self, upstream: str, outcome: str, seconds: float) -> None:
        self.told.append(("answered", upstream, outcome, seconds))

    def upstream_bytes(self, *, sent: int = 0, received: int = 0) -> None:
        self.told.append(("upstream", sent, received))

    def store_bytes(self, *, sent: int = 0, received: int = 0) -> None:
        self.told.append(("store", sent, received))

    def prompt(self, outcome: PromptOutcome) -> None:
        self.told.append(("prompt", outcome))


class Replying:
    """An answer in memory."""

    status = 201
    headers: Mapping[str, str] = {}

    async def chunks(self) -> AsyncGenerator[bytes]:
        yield b"an"
        yield b"swer"


class Provider:
    """An upstream in memory, which may fail."""

    config = UpstreamConfig("fake")

    def __init__(self, error: BaseException | None = None) -> None:
        self._error = error
        self.received = b""
        self.is_closed = False

    @asynccontextmanager
    async def send(self, outgoing: Outgoing) -> AsyncGenerator[Answer]:
        assert outgoing.body is not None
        assert outgoing.body.size == 8
        async for chunk in outgoing.body.chunks():
            self.received += chunk
        if self._error:
            raise self._error
        yield Replying()

    async def close(self) -> None:
        self.is_closed = True


def _clock() -> Iterator[float]:
    yield from (0.0, 1.0, 3.0, 6.0)


async def test_an_upstream_is_timed_and_its_bytes_are_counted() -> None:
    told, provider, times = Told(), Provider(), _clock()
    metered = MeteredUpstream(provider, told, lambda: next(times))
    async with metered.send(OUTGOING) as answer:
        assert (answer.status, answer.headers) == (201, {})
        assert [chunk async for chunk in answer.chunks()] == [b"an", b"swer"]
    assert provider.received == b"question"
    assert told.told == [
        ("upstream", 8, 0),
        ("first_byte", "fake", 1.0),
        ("upstream", 0, 2),
        ("upstream", 0, 4),
        ("answered", "fake", "201", 3.0),
    ]
    assert metered.config.name == "fake"
    await metered.close()
    assert provider.is_closed


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(UpstreamTimeoutError("slow"), "upstream_timeout"), (asyncio.CancelledError(), "gone")],
)
async def test_a_failure_is_told_by_its_code(error: BaseException, outcome: str) -> None:
    told = Told()
    with pytest.raises(type(error)):
        async with MeteredUpstream(Provider(error), told, lambda: 0.0).send(OUTGOING):
            pass
    assert told.told[-1] == ("answered", "fake", outcome, 0.0)


async def test_of_the_store_only_bytes_are_told() -> None:
    told = Told()
    async with MeteredUpstream(Provider(), told, lambda: 0.0, hop="store").send(OUTGOING) as answer:
        async for _ in answer.chunks():
            pass
    assert told.told == [("store", 8, 0), ("store", 0, 2), ("store", 0, 4)]


async def test_prompts_are_told_by_what_became_of_them() -> None:
    told, prompts = Told(), MemoryPrompts()
    metered = MeteredPrompts(prompts, told)
    root = prompt_root("openai.chat")
    await metered.append("t", "openai.chat", root, [])
    assert await metered.expand("t", "openai.chat", root) == []
    assert await metered.expand("t", "openai.chat", Digest.of(b"other")) is None
    assert told.told == [("prompt", "kept"), ("prompt", "not_found")]


@pytest.mark.parametrize("error", [NotKeptError("large"), StoreUnavailableError("away")])
async def test_a_prompt_that_is_not_kept_is_told_as_refused(error: Exception) -> None:
    class Refusing(MemoryPrompts):
        async def append(
            self,
            tenant: str,
            dialect: str,
            parent: Digest,
            messages: Sequence[KeptMessage],
            *,
            end_user: str | None = None,
        ) -> None:
            raise error

    told = Told()
    with pytest.raises(type(error)):
        await MeteredPrompts(Refusing(), told).append("t", "d", prompt_root("d"), [])
    assert told.told == [("prompt", "refused")]


async def test_resolving_is_timed_by_its_steps() -> None:
    told, blobs, times = Told(), MemoryBlobs(), _clock()
    digest = blobs.add(b"bytes")
    metered = MeteredBlobs(blobs, told, lambda: next(times))
    found = await metered.resolve("t", [digest])
    await metered.prepare("t", found.values())
    assert list(found) == [digest]
    assert told.told == [("resolved", "grants", 1.0), ("resolved", "bytes", 3.0)]
    reader = await metered.open("t", digest)
    assert bytes(await reader.read_piece(0)) == b"bytes"
    await reader.close()
    assert await metered.absorb("t", b"more", None) == Digest.of(b"more")
    assert metered.name == blobs.name


def test_nobody_has_to_listen() -> None:
    nobody: Meters = NoMeters()
    nobody.resolved("grants", 0)
    nobody.first_byte("u", 0)
    nobody.answered("u", "200", 0)
    nobody.upstream_bytes(sent=1)
    nobody.store_bytes(received=1)
    nobody.saved(1)
    nobody.prompt("kept")
    nobody.observed(is_dropped=False)
