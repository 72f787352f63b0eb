"""The observer keeps sums and marks in a file, which the report reads beside it."""

import asyncio
import base64
import gzip
import sqlite3
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from coatcheck.daemon import (
    ObservationLimits,
    ObservationsUnreadableError,
    ObserverConfig,
    RecordingObserver,
    UpstreamConfig,
    read_observations,
)
from coatcheck.daemon.account import Account, Subject
from coatcheck.daemon.meters import NoMeters
from coatcheck.daemon.observation import Mode, NoObserver, Observer
from coatcheck.daemon.observation_schema import observations_metadata
from coatcheck.daemon.observations import MIGRATIONS
from coatcheck.daemon.observed_turn import ReadLimits
from coatcheck.protocol import Digest, Json, JsonObject, PrefixOutcome, encode_json
from coatcheck.store import StoreError
from coatcheck.store.migrate import migrate

DAY = 24 * 3600.0
NOW = 1000 * DAY
SECRET = "Nobody may read this sentence."
IMAGE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


def talk(turns: int, tail: str = "") -> list[Json]:
    """Return a conversation with one image."""
    url = f"data:image/png;base64,{base64.b64encode(IMAGE).decode()}"
    part: JsonObject = {"type": "image_url", "image_url": {"url": url}}
    first: JsonObject = {"role": "user", "content": [{"type": "text", "text": SECRET}, part]}
    later: list[Json] = [{"role": "user", "content": f"{turn}{tail}"} for turn in range(turns)]
    return [first, *later]


@dataclass(frozen=True)
class Turn:
    """What the gateway tells of a request."""

    body: bytes
    tenant: str = "t"
    upstream: str = "u"
    mode: Mode = "observe"
    at: float = NOW
    dialect: str | None = "openai.chat"
    coding: str | None = None

    def begin(self, observer: Observer) -> Account:
        """Tell that the request came."""
        subject = Subject(self.tenant, "/v1/chat/completions", self.dialect, self.coding, self.at)
        config = UpstreamConfig(self.upstream, mode=self.mode)
        account = Account(subject, config, observer, ReadLimits())
        account.take(self.body)
        account.end()
        return account

    def tell(self, observer: Observer) -> None:
        """Tell all of it."""
        account = self.begin(observer)
        account.give(bytes(7))
        account.close()


def seen(messages: list[Json] | None = None, **about: Any) -> Turn:
    """Return a turn of these messages."""
    said = talk(1) if messages is None else messages
    return Turn(encode_json({"model": "m", "messages": said}), **about)


class Counted(NoMeters):
    """Counts what was dropped."""

    def __init__(self) -> None:
        self.dropped: list[bool] = []
        self.prefixes: list[tuple[str, PrefixOutcome]] = []

    def observed(self, *, is_dropped: bool) -> None:
        self.dropped.append(is_dropped)

    def prefix(self, upstream: str, outcome: PrefixOutcome) -> None:
        self.prefixes.append((upstream, outcome))


async def observer(path: Path | None, config: ObserverConfig | None = None) -> RecordingObserver:
    """Open an observer whose time stands still."""
    return await RecordingObserver.open(path, config, clock=lambda: NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "observations.db"


@pytest.fixture
def foreign(path: Path) -> Path:
    path.write_bytes(b"no database" * 100)
    return path


def _read(file: Path) -> bytes:
    return file.read_bytes()


def _mode(file: Path) -> int:
    return file.stat().st_mode & 0o777


async def test_requests_are_summed_by_tenant_upstream_and_mode(path: Path) -> None:
    observing = await observer(path)
    seen().tell(observing)
    seen().tell(observing)
    seen(tenant="other").tell(observing)
    seen(mode="on", upstream="v").tell(observing)
    await observing.close()
    sums = read_observations(path, 0, NOW)
    assert [(item.tenant, item.upstream, item.mode) for item in sums] == [
        ("other", "u", "observe"),
        ("t", "u", "observe"),
        ("t", "v", "on"),
    ]
    both = sums[1].figures
    size = len(seen().body)
    assert (both.requests, both.turns, both.bytes_up, both.bytes_down) == (2, 2, 2 * size, 14)
    assert (both.images, both.image_bytes) == (1, len(IMAGE))
    assert sums[0].figures.images == 1  # new to this tenant
    assert sums[2].figures.images == 0  # another upstream, the same tenant


async def test_a_later_process_knows_what_an_earlier_one_saw(path: Path) -> None:
    for _ in range(2):
        observing = await observer(path)
        seen().tell(observing)
        await observing.close()
    (item,) = read_observations(path, 0, NOW)
    assert item.figures.repeated_bytes > len(IMAGE)


async def test_two_processes_add_to_one_file(path: Path) -> None:
    both = [await observer(path), await observer(path)]
    for turn in range(6):
        seen(talk(turn)).tell(both[turn % 2])
        await both[turn % 2].flush()
    (item,) = read_observations(path, 0, NOW)
    for observing in both:
        await observing.close()
    assert item.figures.requests == 6
    assert item.figures.images == 1
    assert item.figures.breaks == 0


async def test_what_the_answer_says_of_its_prompt_is_told(path: Path) -> None:
    observing = await observer(path)
    account = seen().begin(observing)
    account.give(b'{"choices":[{"message":{"content":"\\"prompt_tokens\\":1"}}],')
    account.give(b" " * 100_000)
    account.give(b'"usage":{"prompt_tokens":2000,"prompt_tokens_details":{"cached_tok')
    account.give(b'ens":1920}}}')
    account.close()
    seen(talk(2)).tell(observing)
    await observing.close()
    (item,) = read_observations(path, 0, NOW)
    assert (item.figures.prompt_tokens, item.figures.cached_tokens) == (2000, 1920)


async def test_what_became_of_prefixes_is_measured(path: Path) -> None:
    counted = Counted()
    observing = await RecordingObserver.open(path, meters=counted, clock=lambda: NOW)
    seen(talk(2)).tell(observing)
    seen(talk(3)).tell(observing)
    changed = talk(4)
    changed[0] = {"role": "user", "content": "edited"}
    seen(changed).tell(observing)
    Turn(b"no turn").tell(observing)
    await observing.close()
    assert counted.prefixes == [("u", "new"), ("u", "kept"), ("u", "broken")]


async def test_breaks_are_told_by_their_message(path: Path) -> None:
    observing = await observer(path)
    seen(talk(3)).tell(observing)
    changed = talk(3)
    changed[1] = {"role": "user", "content": "edited"}
    seen([*changed, {"role": "user", "content": "more"}]).tell(observing)
    await observing.close()
    (item,) = read_observations(path, 0, NOW)
    assert item.figures.breaks == 1
    assert item.broke_at == Counter({(1, "user"): 1})


async def test_a_report_is_of_its_time(path: Path) -> None:
    observing = await observer(path)
    for day in range(4):
        seen(at=NOW - day * DAY).tell(observing)
    await observing.close()
    (item,) = read_observations(path, NOW - 2 * DAY, NOW - DAY)
    assert item.figures.requests == 2


async def test_it_is_written_while_it_runs(path: Path) -> None:
    observing = await observer(path, ObserverConfig(flush_seconds=0.01))
    seen().tell(observing)
    async with asyncio.timeout(10):
        while not await asyncio.to_thread(read_observations, path, 0, NOW):
            pass
    await observing.close()


@pytest.mark.parametrize(
    "observed",
    [
        seen(dialect=None),
        seen(dialect="dify.llm"),
        seen(coding="x-unknown"),
        seen(coding="gzip"),  # it is not
    ],
)
async def test_what_cannot_be_read_is_counted_in_bytes(observed: Turn, path: Path) -> None:
    observing = await observer(path)
    observed.tell(observing)
    await observing.close()
    (item,) = read_observations(path, 0, NOW)
    assert (item.figures.requests, item.figures.turns) == (1, 0)
    assert item.figures.bytes_up == item.figures.on_bytes == len(observed.body)


async def test_a_body_is_read_before_its_answer_ends(path: Path) -> None:
    observing = await observer(path)
    account = seen().begin(observing)
    await observing.flush()
    assert not read_observations(path, 0, NOW)
    assert observing.take_room(256 * 1024 * 1024)  # all of it: nothing is held any more
    account.give(bytes(7))
    account.close()
    await observing.close()
    (item,) = read_observations(path, 0, NOW)
    assert (item.figures.turns, item.figures.images, item.figures.bytes_down) == (1, 1, 7)


async def test_a_compressed_body_is_read(path: Path) -> None:
    observing = await observer(path)
    body = gzip.compress(seen().body)
    Turn(body, coding="gzip").tell(observing)
    await observing.close()
    (item,) = read_observations(path, 0, NOW)
    assert (item.figures.turns, item.figures.image_bytes) == (1, len(IMAGE))
    assert item.figures.bytes_up == len(body)


async def test_nothing_of_what_passed_is_in_the_file(path: Path) -> None:
    observing = await observer(path)
    seen().tell(observing)
    await observing.close()
    disk = b"".join(_read(file) for file in path.parent.iterdir())
    assert SECRET.encode() not in disk
    assert IMAGE[:40] not in disk
    assert base64.b64encode(IMAGE[:30]) not in disk
    assert Digest.of(IMAGE).raw not in disk
    assert Digest.of(IMAGE).hex.encode() not in disk


async def test_only_the_owner_may_read_the_file(path: Path) -> None:
    await (await observer(path)).close()
    assert _mode(path) == 0o600


async def test_old_hours_and_marks_go(path: Path) -> None:
    old = await observer(path)
    seen(at=NOW - 100 * DAY).tell(old)
    await old.close()
    new = await observer(path)  # which begins by trimming
    seen(talk(1, "new"), tenant="new").tell(new)
    await new.close()
    (item,) = read_observations(path, 0, NOW)
    assert item.tenant == "new"
    with sqlite3.connect(path) as connection:
        (oldest,) = connection.execute("SELECT min(seen_at) FROM marks").fetchone()
    connection.close()
    assert oldest == NOW


async def test_marks_are_bounded(path: Path) -> None:
    limits = ObservationLimits(max_marks=5)
    for turn in range(3):
        observing = await observer(path, ObserverConfig(limits))
        seen(talk(5, f"{turn}"), at=NOW + turn).tell(observing)
        await observing.close()
    observing = await observer(path, ObserverConfig(limits))
    await observing.close()
    with sqlite3.connect(path) as connection:
        times = [at for (at,) in connection.execute("SELECT seen_at FROM marks")]
    connection.close()
    assert times == [NOW + 2] * 5


async def test_a_body_beyond_the_room_is_dropped_and_its_request_counted(path: Path) -> None:
    meters = Counted()
    size = len(seen().body)
    config = ObserverConfig(max_held_bytes=size)
    observing = await RecordingObserver.open(path, config, meters=meters, clock=lambda: NOW)
    seen().tell(observing)
    seen().tell(observing)  # the first one still waits: nothing was awaited
    await observing.flush()
    seen().tell(observing)
    await observing.close()
    (item,) = read_observations(path, 0, NOW)
    assert (item.figures.requests, item.figures.turns, item.figures.dropped) == (3, 2, 1)
    assert sorted(meters.dropped) == [False, False, True]


async def test_requests_beyond_the_queue_are_dropped(path: Path) -> None:
    meters = Counted()
    config = ObserverConfig(max_waiting=1)
    observing = await RecordingObserver.open(path, config, meters=meters, clock=lambda: NOW)
    seen().tell(observing)
    seen().tell(observing)
    await observing.close()
    seen().tell(observing)
    assert meters.dropped == [True, False, True]  # the first one's fate is known when it was read


def short_messages(count: int) -> bytes:
    """Return a turn of many messages."""
    listed = b",".join([b'{"role":"user","content":"a"}'] * count)
    return b'{"model":"m","messages":[' + listed + b"]}"


@pytest.mark.parametrize(
    "observed",
    [
        Turn(short_messages(5001)),
        Turn(short_messages(200_000)),
        Turn(gzip.compress(b" " * (33 << 20)), coding="gzip"),
        Turn(gzip.compress(gzip.compress(b" " * (33 << 20))), coding="gzip, gzip"),
        Turn(b" " * (33 << 20)),
    ],
    ids=["messages", "values", "inflated", "inflated twice", "bytes"],
)
async def test_what_is_too_large_is_counted_in_bytes(observed: Turn, path: Path) -> None:
    meters = Counted()
    observing = await RecordingObserver.open(path, meters=meters, clock=lambda: NOW)
    observed.tell(observing)
    await observing.close()
    (item,) = read_observations(path, 0, NOW)
    assert (item.figures.requests, item.figures.turns, item.figures.dropped) == (1, 0, 1)
    assert item.figures.bytes_up == item.figures.on_bytes == len(observed.body)
    assert meters.dropped == [True]


async def test_bodies_beyond_the_number_that_may_wait_are_dropped(path: Path) -> None:
    observing = await observer(path, ObserverConfig(max_bodies=2))
    for _ in range(5):
        seen().tell(observing)
    await observing.close()
    (item,) = read_observations(path, 0, NOW)
    assert (item.figures.requests, item.figures.turns, item.figures.dropped) == (5, 2, 3)
    assert observing.take_room(256 * 1024 * 1024)  # nothing is held any more


async def test_marks_beyond_those_that_may_wait_are_dropped(path: Path) -> None:
    observing = await observer(path, ObserverConfig(max_waiting_marks=40))
    for turn in range(3):
        seen(talk(5, f"{turn}")).tell(observing)  # 20 marks each, or so
    await observing.flush()
    seen(talk(5, "later")).tell(observing)
    await observing.close()
    (item,) = read_observations(path, 0, NOW)
    assert item.figures.requests == 4
    assert 0 < item.figures.dropped < 3
    assert item.figures.turns == 4 - item.figures.dropped


async def test_closing_does_not_wait_for_what_would_take_long(path: Path) -> None:
    body = gzip.compress(short_messages(4900) + b" " * (30 << 20))
    observing = await observer(path, ObserverConfig(close_seconds=0.5))
    for _ in range(200):
        Turn(body, coding="gzip").tell(observing)
    async with asyncio.timeout(10):
        await observing.close()
    (item,) = read_observations(path, 0, NOW)
    assert item.figures.requests == 200
    assert item.figures.dropped == 200 - item.figures.turns > 150
    assert observing.take_room(256 * 1024 * 1024)


async def test_closing_counts_what_it_has_no_time_to_judge(path: Path) -> None:
    observing = await observer(path, ObserverConfig(close_seconds=0))
    seen().tell(observing)
    await observing.close()
    (item,) = read_observations(path, 0, NOW)
    assert (item.figures.requests, item.figures.dropped) == (1, 1)


async def test_what_cannot_be_written_waits(path: Path) -> None:
    observing = await observer(path)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("DROP TABLE hours")
    seen().tell(observing)
    await observing.flush()
    blocker.execute("DELETE FROM alembic_version")
    columns = ", ".join(
        f"{c.name} INTEGER NOT NULL" for c in observations_metadata.tables["hours"].c
    )
    blocker.execute(f"CREATE TABLE hours ({columns}, PRIMARY KEY (hour, tenant, upstream, mode))")
    blocker.close()
    await observing.flush()
    (item,) = read_observations(path, 0, NOW)
    await observing.close()
    assert item.figures.requests == 1


async def test_closing_twice_is_allowed() -> None:
    observing: Observer = await observer(None)
    await observing.close()
    await observing.close()
    nobody: Observer = NoObserver()
    seen().tell(nobody)
    await nobody.close()


async def test_a_file_of_another_program_is_refused(foreign: Path) -> None:
    with pytest.raises(StoreError):
        await observer(foreign)


def test_a_report_without_a_file_says_so(path: Path) -> None:
    with pytest.raises(ObservationsUnreadableError, match="nothing was observed"):
        read_observations(path, 0, NOW)


def test_a_report_on_another_programs_file_says_so(foreign: Path) -> None:
    with pytest.raises(ObservationsUnreadableError, match="cannot be read"):
        read_observations(foreign, 0, NOW)


async def test_reading_leaves_nothing_beside_the_file(path: Path) -> None:
    observing = await observer(path)
    seen().tell(observing)
    await observing.close()
    before = sorted(path.parent.iterdir())
    read_observations(path, 0, NOW)
    assert sorted(path.parent.iterdir()) == before


def test_the_migrations_lead_to_the_schema() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        with connection.begin():
            migrate(connection, "observations", folder=MIGRATIONS)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert not compare_metadata(context, observations_metadata)
    engine.dispose()
