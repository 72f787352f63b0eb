"""What an upstream of others breaks on purpose looks through us as it does directly.

Directly the image goes inline, through us as a ref. Errors, limits and slowness come back unchanged;
what was cut is followed by the dialect's error event and is cut too.
"""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import pytest
import pytest_asyncio

from coatcheck.client import AsyncClient
from coatcheck.protocol import JsonObject, dialect

from ..daemon.equality_corpus import ROWS, Spell, blobs
from .independent import DIALECTS_OF, LIMIT_PER_MINUTE, NO_ANSWER, SLOW, Answered, Independent

pytestmark = [
    pytest.mark.system,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(300),
]
_DIALECTS = DIALECTS_OF["llmock"]
_STATUSES = (400, 401, 403, 404, 409, 413, 422, 429, 500, 502, 503, 529)
_KEYS = count()


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def _handed_in(upstreams: Independent) -> None:
    async with AsyncClient(upstreams.gateway) as client:
        await client.put(blobs()["png"][0])


class Both:
    """One request both ways: directly with the image inline, and through us as a ref."""

    def __init__(self, upstreams: Independent, name: str, dialect: str) -> None:
        self._upstreams, self._name, self._dialect = upstreams, name, dialect
        self._row = next(r for r in ROWS if r.dialect == dialect and r.about == "one image")

    async def ask(self, *behaviors: JsonObject, **wish: Any) -> tuple[Answered, Answered]:
        """Return what came directly, and what came through us; see `ask_often`."""
        (direct,), (through,) = await self.ask_often(1, *behaviors, **wish)
        return direct, through

    async def ask_often(
        self, times: int, *behaviors: JsonObject, **wish: Any
    ) -> tuple[list[Answered], list[Answered]]:
        """Ask as often directly as through us, with a key for each; `behaviors` are for llmock."""
        return (
            await self._ask(times, behaviors, is_direct=True, **wish),
            await self._ask(times, behaviors, is_direct=False, **wish),
        )

    async def _ask(
        self,
        times: int,
        behaviors: Sequence[JsonObject],
        *,
        is_direct: bool,
        text: str = "What is it?",
        is_streamed: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> list[Answered]:
        up, admin = self._upstreams, f"{self._upstreams.origins['llmock']}/_llmock"
        await up.json(f"{admin}/reset", {})
        if behaviors:
            await up.json(f"{admin}/scenario", {"behaviors": list(behaviors)})
        key = f"key-{next(_KEYS)}"
        sent = {"Authorization": f"Bearer {key}", "x-api-key": key, "x-goog-api-key": key}
        url = (up.direct(self._name, self._dialect) if is_direct else up.gateway) + self._path(
            is_streamed
        )
        body = self._body(text, is_direct=is_direct, is_streamed=is_streamed)
        answers = [await up.ask(url, body, {**sent, **(headers or {})}) for _ in range(times)]
        if self._name == "llmock":
            assert (await up.json(f"{admin}/requests"))["count"] == times, "it was asked again"
        return answers

    def _path(self, is_streamed: bool) -> str:
        path = self._row.path.replace("/m:", f"/{self._name}:")
        is_named = is_streamed and self._dialect == "gemini.generate"
        return f"{path.replace(':generate', ':streamGenerate')}?alt=sse" if is_named else path

    def _body(self, text: str, *, is_direct: bool, is_streamed: bool) -> JsonObject:
        spell = Spell("inline" if is_direct else "ref", self._upstreams.gateway)
        body: Any = self._row.body(spell)
        (message,) = body[dialect(self._dialect).messages_key]
        key = "parts" if self._dialect == "gemini.generate" else "content"
        message[key] = [{**part, "text": text} if "text" in part else part for part in message[key]]
        if self._dialect == "gemini.generate":
            return dict(body)
        return {**body, "model": self._name, **({"stream": True} if is_streamed else {})}


@pytest.fixture(params=_DIALECTS)
def llmock(upstreams: Independent, request: pytest.FixtureRequest) -> Both:
    """Requests to llmock in each dialect."""
    return Both(upstreams, "llmock", request.param)


@pytest.fixture(params=DIALECTS_OF["aimock"])
def aimock(upstreams: Independent, request: pytest.FixtureRequest) -> Both:
    """Requests to aimock in each dialect."""
    return Both(upstreams, "aimock", request.param)


class TestLlmock:
    """Faults that llmock makes when told."""

    @pytest.mark.parametrize("is_streamed", [False, True])
    async def test_nothing_is_broken(self, llmock: Both, is_streamed: bool) -> None:
        direct, through = await llmock.ask(is_streamed=is_streamed)
        assert direct.status == 200
        assert through == direct

    @pytest.mark.parametrize("is_streamed", [False, True])
    async def test_an_error(self, llmock: Both, is_streamed: bool) -> None:
        for status in _STATUSES:
            fail: JsonObject = {"type": "fail", "status": status, "message": f"no: {status}"}
            direct, through = await llmock.ask(fail, is_streamed=is_streamed)
            assert direct.status == status
            assert through == direct

    async def test_an_error_that_says_when_to_come_back(self, llmock: Both) -> None:
        fail: JsonObject = {"type": "fail", "status": 429, "retry_after": 7}
        direct, through = await llmock.ask(fail)
        assert direct.headers["retry-after"] == "7"
        assert through == direct

    @pytest.mark.parametrize("kind", ["truncate", "malformed"])
    @pytest.mark.parametrize("after", [0, 1, 3])
    async def test_a_stream_that_ends_early_or_says_nonsense(
        self, llmock: Both, kind: str, after: int
    ) -> None:
        fault: JsonObject = {"type": "stream_fault", "kind": kind, "after_chunks": after}
        direct, through = await llmock.ask(fault, is_streamed=True)
        assert not direct.is_cut
        assert through == direct

    @pytest.mark.parametrize("after", [0, 1, 3])
    async def test_a_stream_that_is_cut(self, llmock: Both, after: int) -> None:
        fault: JsonObject = {"type": "stream_fault", "kind": "disconnect", "after_chunks": after}
        direct, through = await llmock.ask(fault, is_streamed=True)
        assert direct.is_cut
        assert through.is_cut
        assert (through.status, through.headers) == (direct.status, direct.headers)
        assert through.body.startswith(direct.body)
        said_by_us = through.body[len(direct.body) :]
        assert said_by_us.count(b"data:") == 1
        assert b"broke off" in said_by_us

    @pytest.mark.parametrize(
        "fault",
        [
            {"type": "delay", "seconds": SLOW},
            {"type": "slow_first_token", "seconds": SLOW},
            {"type": "stream_fault", "kind": "stall", "after_chunks": 0, "stall_seconds": SLOW},
        ],
        ids=lambda fault: str(fault.get("kind", fault["type"])),
    )
    async def test_slowness(self, llmock: Both, fault: JsonObject) -> None:
        direct, through = await llmock.ask(fault, is_streamed=True)
        assert direct.begun_seconds >= SLOW
        assert through.begun_seconds >= SLOW
        assert through == direct

    async def test_a_limit_for_each_key(self, llmock: Both) -> None:
        direct, through = await llmock.ask_often(LIMIT_PER_MINUTE + 1)
        assert [answer.status for answer in direct] == [200] * LIMIT_PER_MINUTE + [429]
        assert [answer.status for answer in through] == [answer.status for answer in direct]
        for ours, theirs in zip(through, direct, strict=True):
            assert ours.headers.keys() == theirs.headers.keys()
        assert int(through[-1].headers["retry-after"]) > 0


class TestAimock:
    """Faults that aimock makes when told, in a header or by what the text says."""

    @pytest.mark.parametrize("is_streamed", [False, True])
    async def test_nothing_is_broken(self, aimock: Both, is_streamed: bool) -> None:
        direct, through = await aimock.ask(is_streamed=is_streamed)
        assert direct.status == 200
        assert b"picture" in direct.body
        assert through == direct

    @pytest.mark.parametrize("is_streamed", [False, True])
    @pytest.mark.parametrize(
        ("fault", "status"), [("drop", 500), ("ratelimit", 429), ("malformed", 200)]
    )
    async def test_an_error(self, aimock: Both, fault: str, status: int, is_streamed: bool) -> None:
        headers = {f"x-aimock-chaos-{fault}": "1"}
        direct, through = await aimock.ask(headers=headers, is_streamed=is_streamed)
        assert direct.status == status
        assert ("retry-after" in direct.headers) == (fault == "ratelimit")
        assert through == direct

    async def test_an_error_that_says_when_to_come_back(self, aimock: Both) -> None:
        direct, through = await aimock.ask(text="busy")
        assert direct.status == 529
        assert through == direct

    async def test_a_connection_that_ends_without_an_answer(self, aimock: Both) -> None:
        headers = {"x-aimock-chaos-disconnect": "1"}
        direct, through = await aimock.ask(headers=headers)
        assert (direct.status, direct.is_cut) == (NO_ANSWER, True)
        assert (through.status, through.is_cut) == (502, False)
        assert b"upstream_hung_up" in through.body

    async def test_a_stream_that_is_cut(self, aimock: Both) -> None:
        direct, through = await aimock.ask(text="cut", is_streamed=True)
        assert direct.is_cut
        assert through.is_cut
        # It resets the connection, so the last event before that may be lost on either way.
        events, ours = direct.body.split(b"\n\n"), through.body.split(b"\n\n")
        common = min(len(events) - 1, len(ours) - 2)
        assert common >= 1
        assert ours[:common] == events[:common]
        assert b"broke off" in ours[-2]

    async def test_slowness(self, aimock: Both) -> None:
        for wish in (
            {"text": "slow"},
            {"headers": {"x-aimock-chaos-latency": f"{SLOW * 1000:.0f}"}},
        ):
            direct, through = await aimock.ask(is_streamed=True, **wish)
            assert direct.begun_seconds >= SLOW
            assert through.begun_seconds >= SLOW
            assert through == direct
