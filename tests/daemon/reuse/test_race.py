"""Turns of two tenants, at the same time, while files expire and images are dropped: never a wrong one.

Ten thousand turns at night, some hundreds otherwise. The tenants have equal images and different ones; each
turn's answer says what the model saw. Bytes cross once for each life of a file, or of a name.
"""

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from aiohttp import web as aioweb

from coatcheck.daemon.reuse.uploads import MARGIN_SECONDS
from coatcheck.protocol import Digest

from ..remote import Clock
from .engine import Engine
from .provider import Provider
from .rig import Rig, image, rigged, served

IS_NIGHT = bool(os.environ.get("COATCHECK_NIGHTLY"))
TURNS = 10_000 if IS_NIGHT else 250
AT_ONCE = 16
SHARED = [image(number, 300) for number in range(6)]
OWN = {"a": [image(100 + n, 300) for n in range(4)], "b": [image(200 + n, 300) for n in range(4)]}


async def race(rig: Rig, seed: int, happen: Callable[[Random], None]) -> None:
    """Take turns of both tenants; what `happen` does happens between them."""
    random = Random(seed)
    for tenant, own in OWN.items():
        for data in (*SHARED, *own):
            await rig.put(data, tenant)
    left = TURNS

    async def talk() -> None:
        nonlocal left
        while left:
            left -= 1
            tenant = random.choice("ab")
            chosen = random.choices((*SHARED, *OWN[tenant]), k=random.randint(1, 4))
            parts = [random.choice((rig.ref, rig.sample.inline))(data) for data in chosen]
            seen = await rig.see(*parts, tenant=tenant)
            assert seen == [Digest.of(data) for data in chosen]
            happen(random)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(talk())


DIALECTS = ["openai.responses", "anthropic.messages", "gemini.generate"]


@pytest.mark.parametrize("dialect", DIALECTS if IS_NIGHT else DIALECTS[1:2])
async def test_files_that_expire_and_go(dialect: str) -> None:
    clock = Clock(1_800_000_000.0)
    provider = Provider(clock)
    doubled: Counter[str] = Counter()

    async def look(request: aioweb.Request) -> aioweb.StreamResponse | None:
        lasting = [
            file.data for file in provider.files.values() if file.expires_at - clock() > margin
        ]
        doubled.update(Digest.of(data) for data, n in Counter(lasting).items() if n > 2)
        return None

    seen_at: dict[str, int] = {}
    turns, jumped_at = 0, 0

    def happen(random: Random) -> None:
        nonlocal turns, jumped_at
        turns += 1
        for name in provider.files:
            seen_at.setdefault(name, turns)
        # Nothing goes twice within one turn: a file that goes at once is not made a third time.
        if random.random() < 0.2 and turns > jumped_at + 4 * AT_ONCE:
            clock.now += random.uniform(0, 80_000)
            jumped_at = turns
        old = [name for name in provider.files if turns - seen_at[name] > 4 * AT_ONCE]
        if random.random() < 0.1 and old:
            del provider.files[random.choice(old)]

    margin = MARGIN_SECONDS
    provider.before = look
    async with (
        served(provider.app()) as origin,
        rigged(
            origin, dialect, "file-id", clock=clock, file_seconds=86_400, lease_seconds=10**9
        ) as rig,
    ):
        await race(rig, 1, happen)
        assert not doubled  # one for each of two tenants
        assert not provider.inline()
        assert rig.counts.outcomes["recovered"] > 0
        assert sum(provider.uploads().values()) == rig.counts.outcomes["uploaded"]


async def test_files_of_a_provider_that_fails_now_and_then() -> None:
    clock = Clock(1_800_000_000.0)
    provider = Provider(clock)
    random = Random(3)

    async def fail(request: aioweb.Request) -> aioweb.StreamResponse | None:
        if request.path == "/v1/files" and random.random() < 0.3:
            return aioweb.json_response({}, status=random.choice([400, 429, 500, 529]))
        return None

    def happen(random: Random) -> None:
        if random.random() < 0.1:
            clock.now += random.uniform(0, 4_000)
        if random.random() < 0.1 and provider.files:
            del provider.files[random.choice(list(provider.files))]

    provider.before = fail
    async with (
        served(provider.app()) as origin,
        rigged(origin, DIALECTS[0], "file-id", clock=clock, lease_seconds=10**9) as rig,
    ):
        await race(rig, 2, happen)
        assert rig.counts.outcomes["failed"] > 0


async def test_images_that_an_engine_drops() -> None:
    engine = Engine(room=15 * 308)  # of twenty that the tenants have

    def happen(random: Random) -> None:
        if random.random() < 0.05 and engine.kept:
            engine.drop(random.choice(list(engine.kept)))
        if random.random() < 0.005:
            engine.drop()

    async with (
        served(engine.app()) as origin,
        rigged(origin, "openai.chat", "uuid", clock=Clock(), lease_seconds=10**9) as rig,
    ):
        await race(rig, 4, happen)
        assert rig.counts.outcomes["recovered"] > 0
        assert not engine.unnamed
        # Two turns that miss the same image at the same time may both send it.
        assert sum(n - 1 for n in engine.crossed.values()) < engine.crossings() / 6


async def test_images_that_an_engine_has_room_for() -> None:
    engine = Engine()
    async with (
        served(engine.app()) as origin,
        rigged(origin, "openai.chat", "uuid", clock=Clock(), lease_seconds=10**9) as rig,
    ):
        await race(rig, 5, lambda random: None)
        assert set(engine.crossed.values()) == {1}
        assert len(engine.crossed) == 2 * len(SHARED) + len(OWN["a"]) + len(OWN["b"])
        assert not engine.unnamed
