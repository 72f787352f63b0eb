"""Conversations through the whole chain against a model: what the model provider must get is the list
that the application has, whatever was edited, lost, restarted or asked at the same time.

Servers run in this process; `test_cuts.py` and `test_losses.py` have real ones. `COATCHECK_NIGHTLY`
takes 5,000 steps.
"""

import asyncio
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from bench.agent import (
    DIALECTS,
    Provider,
    fingerprint,
    providing,
    reply_to,
    stream,
    upstreams,
    whole,
)
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule

from .manuscript import PATH_OF, Manuscript, Value, picture
from .station import Clock, Station

pytestmark = [pytest.mark.system, pytest.mark.timeout(3600)]

NIGHTLY = bool(os.environ.get("COATCHECK_NIGHTLY"))
EXAMPLES, STEPS, STEPS_IN_ALL = (100, 50, 5_000) if NIGHTLY else (3, 20, 60)
DAY = 86_400.0
PATIENCE_SECONDS = 10.0
COUNTS: Counter[str] = Counter()

CHANGES = ("edit", "remove", "swap", "twice", "equip")
LOST: Mapping[str, tuple[str, str]] = {
    "restart store": ("store", ""),
    "restart daemon": ("daemon", ""),
    "restart edge": ("edge", ""),
    "lose prompts": ("store", "data/prompts.sqlite*"),
    "lose store": ("store", "data"),
    "wipe daemon": ("daemon", "daemon"),
}
"""Which server is away for a moment, and which of its files are gone afterwards."""
AWAY: Mapping[str, str] = {"store away": "store", "daemon away": "daemon"}
"""Which server a turn is taken without, if it can be."""
MISHAPS = (*LOST, *AWAY, "hours pass", "days pass")

texts = st.text(max_size=40)
pictures = st.lists(st.integers(0, 11), max_size=3)
places = st.integers(0, 1 << 16)


@dataclass
class Answer:
    """What the application got."""

    status: int
    data: bytes


class Chain:
    """An upstream, a store, a daemon and an edge, and an application's connections."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()

    async def open(self) -> None:
        self.providing = providing()
        self.provider: Provider = await self.providing.__aenter__()
        self.stations: dict[str, Station] = {}
        store = await self.run("store", "api", {"data": self.folder / "data"})
        daemon = await self.run("daemon", "daemon", self.daemon(store))
        self.entry = await self.run("edge", "daemon", {"remote": daemon})
        self.session = aiohttp.ClientSession(auto_decompress=False)

    def daemon(self, store: str) -> Mapping[str, object]:
        return {
            "store": store,
            "cache": self.folder / "daemon",
            "upstream": upstreams(self.provider.url),
        }

    async def run(self, name: str, command: str, told: Mapping[str, object]) -> str:
        self.stations[name] = Station(command, self.clock, told)
        await self.stations[name].start()
        return self.stations[name].url

    async def close(self) -> None:
        await self.session.close()
        for station in reversed(self.stations.values()):
            await station.stop()
        await self.providing.__aexit__(None, None, None)

    async def suffer(self, mishap: str) -> None:
        """Let something happen to the servers, between turns."""
        if mishap not in LOST:
            self.clock.now += DAY * (1.1 if mishap == "days pass" else 0.4)
            return
        name, lost = LOST[mishap]
        station = self.stations[name]
        await station.stop()
        for path in self.folder.glob(lost) if lost else ():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        await station.start()

    async def ask(self, dialect: str, body: Value) -> Answer:
        """Send a turn once."""
        async with self.session.post(f"{self.entry}{PATH_OF[dialect]}", json=body) as answer:
            return Answer(answer.status, await answer.read())

    async def ask_until_answered(self, dialect: str, body: Value) -> Answer:
        """Send a turn, and again where a server says that something is away."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while (answer := await self.ask(dialect, body)).status >= 500:
            assert asyncio.get_running_loop().time() < deadline, answer
            COUNTS["asked again"] += 1
            await asyncio.sleep(0.05)
        return answer


class ConversationMachine(RuleBasedStateMachine):
    """Each rule changes lists or servers; each turn compares."""

    talks: Bundle[Manuscript] = Bundle("talks")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.root = Path(tempfile.mkdtemp())
        self.chain = Chain(self.root)
        self.runner.run(self.chain.open())
        self.turns = 0

    def teardown(self) -> None:
        self.runner.run(self.chain.close())
        self.runner.close()
        shutil.rmtree(self.root)

    @rule(target=talks, dialect=st.sampled_from(DIALECTS), is_long=st.booleans(), shown=pictures)
    def begin(self, dialect: str, is_long: bool, shown: list[int]) -> Manuscript:
        talk = Manuscript(dialect, system="You see pictures. " * (200 if is_long else 1))
        self.say(talk, "begin", shown, is_streamed=True, is_plain=True)
        return talk

    @rule(
        talk=talks,
        change=st.sampled_from([*[""] * 5, *CHANGES]),
        mishap=st.sampled_from([*[""] * 12, *MISHAPS]),
        at=places,
        text=texts,
        shown=pictures,
        is_streamed=st.booleans(),
        is_plain=st.booleans(),
    )
    def go_on(
        self,
        talk: Manuscript,
        change: str,
        mishap: str,
        at: int,
        text: str,
        shown: list[int],
        is_streamed: bool,
        is_plain: bool,
    ) -> None:
        """Change the list, let something be lost, and take a turn."""
        if change and talk.messages:
            COUNTS[change] += 1
            change_list(talk, change, at, text)
        if mishap:
            COUNTS[mishap] += 1
        if mishap in AWAY:
            self.say_while_away(talk, AWAY[mishap])
        elif mishap:
            self.runner.run(self.chain.suffer(mishap))
        self.say(talk, text, shown, is_streamed=is_streamed, is_plain=is_plain)

    @rule(target=talks, talk=talks, length=places, shown=pictures)
    def branch(self, talk: Manuscript, length: int, shown: list[int]) -> Manuscript:
        COUNTS["branch"] += 1
        other = talk.branch(length % (len(talk.messages) + 1))
        self.say(other, "branch", shown, is_streamed=False, is_plain=True)
        return other

    def say(
        self, talk: Manuscript, text: str, shown: list[int], *, is_streamed: bool, is_plain: bool
    ) -> None:
        COUNTS["steps"] += 1
        talk.user(f"{text} {self.next()}", [picture(seed) for seed in shown])
        self.runner.run(self.take([talk], is_streamed=is_streamed, is_plain=is_plain))

    @rule(several=st.lists(talks, min_size=2, max_size=4, unique_by=id), is_streamed=st.booleans())
    def say_at_once(self, several: list[Manuscript], is_streamed: bool) -> None:
        COUNTS["at once"] += len(several)
        COUNTS["steps"] += 1
        for number, talk in enumerate(several):
            talk.user(f"at once {self.next()}", [picture(number), picture(99)])
        self.runner.run(self.take(several, is_streamed=is_streamed, is_plain=False))

    def next(self) -> int:
        """A number that makes a turn another one than all before it."""
        self.turns += 1
        return self.turns

    async def take(self, several: list[Manuscript], *, is_streamed: bool, is_plain: bool) -> None:
        """Take a turn of each, at the same time, and compare what the provider got."""
        before = len(self.chain.provider.seen)
        bodies = [talk.body(is_streamed=is_streamed) for talk in several]
        answers = await asyncio.gather(
            *(
                self.chain.ask_until_answered(talk.dialect, body)
                for talk, body in zip(several, bodies, strict=True)
            )
        )
        meant = [fingerprint(body) for body in bodies]
        assert Counter(self.chain.provider.seen[before:]) == Counter(meant)
        for talk, seen, answer in zip(several, meant, answers, strict=True):
            reply = reply_to(seen)
            assert answer.status == 200, answer
            if is_streamed:
                said = [line for line in answer.data.splitlines(True) if not line.startswith(b":")]
                events = b"".join(stream(talk.dialect, reply))
                assert [line for line in said if line.strip()] == [
                    line for line in events.splitlines(True) if line.strip()
                ]
            else:
                assert json.loads(answer.data) == json.loads(whole(talk.dialect, reply))
            talk.hear(reply, is_plain=is_plain)

    def say_while_away(self, talk: Manuscript, name: str) -> None:
        """Ask while a server is away: that is answered, or fails honestly; then it is back."""
        COUNTS["steps"] += 1
        station = self.chain.stations[name]
        self.runner.run(station.stop())
        talk.user(f"away {self.next()}", [picture(self.turns)])
        before = len(self.chain.provider.seen)
        body = talk.body(is_streamed=False)
        answer = self.runner.run(self.asked(talk.dialect, body))
        self.runner.run(station.start())
        got = self.chain.provider.seen[before:]
        if answer is not None and answer.status == 200:
            assert got == [fingerprint(body)]
            talk.hear(reply_to(got[0]), is_plain=True)
        else:
            assert answer is None or answer.status >= 500, answer
            assert got == []
            self.runner.run(self.take([talk], is_streamed=False, is_plain=True))

    async def asked(self, dialect: str, body: Value) -> Answer | None:
        try:
            return await self.chain.ask(dialect, body)
        except aiohttp.ClientError:
            return None


def change_list(talk: Manuscript, change: str, at: int, text: str) -> None:
    """Change what was said, or what is sent with every turn."""
    messages = talk.messages
    place = at % len(messages)
    match change:
        case "edit":
            _rewrite(messages[place], text)
        case "remove":
            del messages[place]
        case "swap":
            messages[place], messages[0] = messages[0], messages[place]
        case "twice":
            messages.insert(place, json.loads(json.dumps(messages[place])))
        case _:
            number = at % 4
            talk.tools = [{"name": f"tool_{each}", "about": "x" * 900} for each in range(number)]


def _rewrite(message: Any, text: str) -> None:
    """Change the first text in a message."""
    for key in ("content", "output", "arguments"):
        if isinstance(message.get(key), str):
            message[key] = text
            return
        parts: list[Any] = message.get(key) or []
        for part in parts:
            if isinstance(part.get("text"), str):
                part["text"] = text
                return


def test_the_provider_gets_the_applications_list() -> None:
    machine = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    ConversationMachine.TestCase.settings = machine
    while COUNTS["steps"] < STEPS_IN_ALL:  # an example may end before its last step
        ConversationMachine.TestCase().runTest()
    print(f"\nconversations: {dict(COUNTS)}")
