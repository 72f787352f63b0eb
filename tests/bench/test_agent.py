"""The parts of the agent's run: what they count and cut, and what the model's words follow from."""

import asyncio
import json
from io import BytesIO
from pathlib import Path

import pytest
from bench.agent import (
    DIALECTS,
    Direction,
    agent_script,
    fingerprint,
    hopping,
    reply_to,
    screenshot,
    stream,
    tools,
    up_limit,
    whole,
)
from PIL import Image

SAID = bytes(range(200))


class Echo:
    """Sends back what a connection said, when it said all; keeps what each said."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard = b""
        try:
            while data := await reader.read(1000):
                heard += data
                if len(heard) == len(SAID):
                    writer.write(heard)
        except ConnectionError:
            pass
        finally:
            self.heard.append(heard)
            writer.close()


@pytest.mark.parametrize("is_reset", [False, True])
@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("offset", [0, 1, 199])
async def test_a_cut_is_at_the_byte_that_was_chosen_and_once(
    direction: Direction, offset: int, is_reset: bool
) -> None:
    echo = Echo()
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with hopping(url) as hop:
        cut = hop.cut_after(direction, offset, is_reset=is_reset)
        first = await ask(hop.port)
        assert cut.is_done
        assert (hop.up, hop.down) == ((offset, 0) if direction == "up" else (200, offset))
        assert first == (b"" if direction == "up" else SAID[:offset])
        assert await ask(hop.port) == SAID
    server.close()
    await server.wait_closed()
    assert echo.heard[0] == (SAID[:offset] if direction == "up" else SAID)


async def ask(port: int) -> bytes:
    """Say something; return what comes back before the connection ends or breaks."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard = b""
    try:
        writer.write(SAID)
        while data := await reader.read(1000):
            heard += data
            if len(heard) == len(SAID):
                break
    except ConnectionError:
        pass
    writer.close()
    return heard


def test_the_limit_is_images_and_text_once_and_a_kilobyte_a_turn() -> None:
    assert up_limit(1_000_000, 5000, 3) == 1_020_000 + 5000 + 3000


def test_the_models_words_follow_from_all_but_how_it_is_asked() -> None:
    body: dict[str, object] = {"model": "m", "messages": [{"role": "user", "content": "a"}]}
    same: dict[str, object] = {"stream": True, "messages": body["messages"], "model": "m"}
    other: dict[str, object] = {**body, "tools": []}
    assert fingerprint(body) == fingerprint(same) != fingerprint(other)
    assert reply_to("a") == reply_to("a") != reply_to("b")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stream_says_what_the_whole_answer_says(dialect: str) -> None:
    reply = reply_to(fingerprint({"dialect": dialect}))
    deltas = b"".join(stream(dialect, reply)).decode()
    for call in reply.calls:
        assert call.name in deltas
        assert call.name in json.dumps(json.loads(whole(dialect, reply)))
    assert reply.text.split()[0] in deltas


def test_screenshots_are_pictures_of_their_own_and_weigh_what_was_asked() -> None:
    shots = [screenshot(60_000, seed) for seed in range(6)]
    assert len({data for data, _ in shots}) == 6
    assert shots[5] == screenshot(60_000, 5)
    for data, ending in shots:
        assert {"PNG": "png", "JPEG": "jpg"}[Image.open(BytesIO(data)).format or ""] == ending
        assert 40_000 < len(data) < 90_000


@pytest.mark.parametrize("dialect", DIALECTS)
def test_fifty_tools_weigh_some_fifty_kilobytes(dialect: str) -> None:
    defined = tools(dialect)
    assert len({json.dumps(tool) for tool in defined}) == 50
    assert 40_000 < len(json.dumps(defined)) < 65_000


def test_a_script_shows_every_screenshot_once() -> None:
    files = [Path(f"{number}.png") for number in range(63)]
    script = agent_script(50, files)
    assert [image for step in script for image in step.images] == files
    assert {len(step.images) for step in script} == {1, 2}
