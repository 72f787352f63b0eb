"""Names beside images for an engine: bytes the first time, the name alone after, bytes again on a miss."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web as aioweb

from coatcheck.protocol import Digest, Json, JsonObject

from ..remote import Clock
from .engine import Engine
from .rig import Rig, image, rigged, served

CHAT = "openai.chat"
RED, BLUE, GREEN = image(1), image(2), image(3)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
async def rig(engine: Engine) -> AsyncIterator[Rig]:
    async with (
        served(engine.app()) as origin,
        rigged(origin, CHAT, "uuid", clock=Clock()) as rig,
    ):
        yield rig


async def test_the_bytes_go_once(rig: Rig, engine: Engine) -> None:
    red, blue = await rig.put(RED), await rig.put(BLUE)
    for _ in range(3):
        assert await rig.see(rig.ref(RED), rig.ref(BLUE)) == [red, blue]
    assert (engine.crossings(), engine.unnamed, engine.refused) == (2, 0, 0)
    assert rig.counts.outcomes == {"uploaded": 2, "found": 4}
    first, last = (_parts(body) for body in (engine.bodies[0], engine.bodies[-1]))
    assert [part["uuid"] for part in first] == [part["uuid"] for part in last]
    assert [part["image_url"] for part in last] == [None, None]


async def test_bytes_that_come_inline_are_named_too(rig: Rig, engine: Engine) -> None:
    red = await rig.put(RED)
    inline = rig.sample.inline(RED)
    assert await rig.see(inline) == [red]
    assert await rig.see(inline, rig.ref(RED)) == [red, red]
    assert (engine.crossings(), engine.refused) == (1, 0)


async def test_an_image_that_stands_twice_in_its_first_turn_has_bytes_twice(
    rig: Rig, engine: Engine
) -> None:
    red = await rig.put(RED)
    assert await rig.see(rig.ref(RED), rig.ref(RED)) == [red, red]
    assert (engine.crossings(), engine.refused) == (1, 0)
    assert [part["image_url"] is None for part in _parts(engine.bodies[0])] == [False, False]
    assert await rig.see(rig.ref(RED), rig.ref(RED)) == [red, red]
    assert engine.crossings() == 1


async def test_what_the_engine_dropped_goes_again_within_the_turn(rig: Rig, engine: Engine) -> None:
    digests = [await rig.put(data) for data in (RED, BLUE, GREEN)]
    refs = [rig.ref(data) for data in (RED, BLUE, GREEN)]
    assert await rig.see(*refs) == digests
    engine.drop(engine.named(BLUE))
    assert await rig.see(*refs) == digests
    assert (engine.refused, engine.crossings()) == (1, 4)
    assert max(engine.crossed.values()) == 1
    assert rig.counts.outcomes["recovered"] == 1
    engine.drop()  # it was restarted
    assert await rig.see(*refs) == digests
    assert engine.refused == 4  # one image at a time, where they are few
    assert max(engine.crossed.values()) == 1


async def test_many_that_were_dropped_go_again_in_few_requests(rig: Rig, engine: Engine) -> None:
    images = [image(number) for number in range(60)]
    digests = [await rig.put(data) for data in images]
    refs = [rig.ref(data) for data in images]
    assert await rig.see(*refs) == digests
    engine.drop()
    assert await rig.see(*refs) == digests
    assert engine.refused <= 9
    assert max(engine.crossed.values()) == 1


async def test_images_of_others_count_where_the_engine_counts(rig: Rig, engine: Engine) -> None:
    """The index of a miss is among all images: also those that a client names itself."""
    red, blue = await rig.put(RED), await rig.put(BLUE)
    own: JsonObject = {**_object(rig.sample.inline(GREEN)), "uuid": "mine"}
    green = Digest.of(GREEN)
    assert await rig.see(own, rig.ref(RED), rig.ref(BLUE)) == [green, red, blue]
    assert engine.kept["mine"] == GREEN
    engine.drop(engine.named(BLUE))
    assert await rig.see(own, rig.ref(RED), rig.ref(BLUE)) == [green, red, blue]
    assert (engine.refused, engine.crossings()) == (1, 5)


async def test_a_clients_own_miss_is_the_clients(rig: Rig, engine: Engine) -> None:
    own: JsonObject = {"type": "image_url", "image_url": None, "uuid": "mine"}
    status, answer = await rig.post([rig.sample.message([own])])
    assert (status, engine.refused) == (400, 1)
    assert answer["error"]["message"].startswith("Cache miss for image at index 0")


async def test_an_engine_that_keeps_nothing_gets_all_bytes(rig: Rig, engine: Engine) -> None:
    engine.room = 0
    red = await rig.put(RED)
    for _ in range(50):
        assert await rig.see(rig.ref(RED)) == [red]
    assert engine.refused == 20  # then it is not tried for a while
    rig.clock.now += 601
    engine.room = 1 << 20
    assert await rig.see(rig.ref(RED)) == [red]
    bodies = len(engine.bodies)
    assert await rig.see(rig.ref(RED)) == [red]
    assert _parts(engine.bodies[bodies])[0]["image_url"] is None


async def test_drift_within_the_engine_is_answered_with_bytes(rig: Rig, engine: Engine) -> None:
    """Between vLLM's processes what one believes to be kept may be gone: 503, with a code."""
    red = await rig.put(RED)
    assert await rig.see(rig.ref(RED)) == [red]
    error = {"message": "gone", "type": "ServiceUnavailable", "code": "multimodal_cache_miss"}
    answers = [aioweb.json_response({"error": error}, status=503) for _ in range(2)]

    async def drift(request: aioweb.Request) -> aioweb.StreamResponse | None:
        return answers.pop() if answers else None

    engine.before = drift
    assert await rig.see(rig.ref(RED)) == [red]
    assert not answers
    assert engine.unnamed == 1  # with bytes and a name it was refused too


async def test_another_503_is_the_clients(rig: Rig, engine: Engine) -> None:
    await rig.put(RED)

    async def refuse(request: aioweb.Request) -> aioweb.StreamResponse | None:
        return aioweb.json_response({"error": {"message": "overloaded", "code": 503}}, status=503)

    engine.before = refuse
    assert (await rig.post([rig.sample.message([rig.ref(RED)])]))[0] == 503
    engine.before = None
    assert await rig.see(rig.ref(RED)) == [Digest.of(RED)]
    assert engine.refused == 0  # what was refused was not kept, and nobody thought so


async def test_turns_at_the_same_time_send_the_bytes_once(rig: Rig, engine: Engine) -> None:
    red = await rig.put(RED)
    seen = await asyncio.gather(*(rig.see(rig.ref(RED)) for _ in range(30)))
    assert seen == [[red]] * 30
    assert engine.crossings() == 1


async def test_a_turn_waits_for_no_answer_of_anothers(rig: Rig, engine: Engine) -> None:
    red = await rig.put(RED)
    came, goes = asyncio.Event(), asyncio.Event()

    async def think() -> None:
        came.set()
        await goes.wait()

    engine.after = think
    first = asyncio.create_task(rig.see(rig.ref(RED)))
    await came.wait()
    engine.after = None
    assert await rig.see(rig.ref(RED)) == [red]
    assert not first.done()
    goes.set()
    assert await first == [red]
    assert engine.crossings() == 1


async def test_tenants_have_names_of_their_own(rig: Rig, engine: Engine) -> None:
    red = await rig.put(RED, "a")
    await rig.put(RED, "b")
    assert await rig.see(rig.ref(RED), tenant="a") == [red]
    assert await rig.see(rig.ref(RED), tenant="b") == [red]
    assert len(engine.kept) == 2
    assert engine.crossings() == 2
    assert all(red.hex not in name for name in engine.kept)


def _parts(body: Json) -> list[JsonObject]:
    """Return the images of a body of one message."""
    message = _object(_list(_object(body)["messages"])[0])
    return [part for item in _list(message["content"]) if "image_url" in (part := _object(item))]


def _object(value: Json) -> JsonObject:
    assert isinstance(value, dict)
    return value


def _list(value: Json) -> list[Json]:
    assert isinstance(value, list)
    return value
