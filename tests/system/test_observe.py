"""What `observe` reports is what `on` then saves: a recorded conversation, played both ways."""

import asyncio
import base64
import io
import json
import random
import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import web
from PIL import Image

from coatcheck.cli.shaping_proxy import LinkShape, ShapingProxy
from coatcheck.client import Client

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

TURNS = 50
IMAGES = 20
SECRET = "The coat of the tall guest is blue."


def picture(number: int) -> bytes:
    """Return a PNG of 2 to 150 kB."""
    random_bytes = random.Random(number)
    width, height = random_bytes.randint(20, 240), random_bytes.randint(30, 210)
    file = io.BytesIO()
    pixels = random_bytes.randbytes(3 * width * height)
    Image.frombytes("RGB", (width, height), pixels).save(file, "PNG")
    return file.getvalue()


def recorded() -> list[dict[str, Any]]:
    """Return the questions of a conversation, some with one picture or two, some shown again."""
    pictures = [picture(number) for number in range(IMAGES)]
    questions: list[dict[str, Any]] = []
    chosen = random.Random(7)
    for turn in range(TURNS):
        words = " ".join(
            chosen.choices(["coat", "hat", "rack", "Mantel", "ticket"], k=turn % 40 + 3)
        )
        parts: list[dict[str, Any]] = [{"type": "text", "text": f"{SECRET} {turn}: {words}?"}]
        shown = pictures[turn // 2 : turn // 2 + 1] if turn % 2 == 0 else []
        if turn in (10, 44):
            shown = [*shown, pictures[3]]  # once more
        for data in shown:
            url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
            parts.append({"type": "image_url", "image_url": {"url": url, "detail": "low"}})
        questions.append({"role": "user", "content": parts})
    return questions


def answer_text(turn: int) -> str:
    return f"Answer {turn}: " + "a coat, of course. " * (turn % 9)


@asynccontextmanager
async def provider() -> AsyncGenerator[str]:
    """An upstream whose answer depends on the number of messages alone."""

    async def answer(request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        turn = len(body["messages"]) // 2
        message = {"role": "assistant", "content": answer_text(turn)}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        return web.json_response(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1,
                "model": "any",
                "choices": [choice],
            }
        )

    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


TOOLS: Any = [
    {
        "type": "function",
        "function": {"name": f"tool{number}", "description": "Looks. " * 50, "parameters": {}},
    }
    for number in range(50)
]


@dataclass(frozen=True)
class Played:
    """What the conversation cost on the way up, counted at the sockets, and what was answered."""

    bytes_up: int
    answers: list[str]


async def play_plainly(url: str) -> Played:
    """Play it as any program does: the official SDK, everything inline, each turn whole."""
    answers: list[str] = []
    port = int(url.rpartition(":")[2])
    async with ShapingProxy(port, LinkShape()) as link:
        async with openai.AsyncOpenAI(base_url=f"{link.url}/v1", api_key="none") as sdk:
            messages: list[Any] = [{"role": "system", "content": "Be brief."}]
            for question in recorded():
                messages.append(question)
                done = await sdk.chat.completions.create(
                    model="any", messages=messages, tools=TOOLS
                )
                answers.append(done.choices[0].message.content or "")
                messages.append({"role": "assistant", "content": answers[-1]})
        return Played(link.total.up, answers)


async def play_by_client(url: str) -> Played:
    """Play the same with a Coatcheck client."""
    answers: list[str] = []

    def play(base_url: str) -> None:
        with Client(base_url) as client:
            messages: list[Any] = [{"role": "system", "content": "Be brief."}]
            for question in recorded():
                messages.append(question)
                done = client.chat(model="any", messages=messages, tools=TOOLS)
                answers.append(str(done.message["content"]))
                messages.append(dict(done.message))

    port = int(url.rpartition(":")[2])
    async with ShapingProxy(port, LinkShape()) as link:
        await asyncio.to_thread(play, link.url)
        return Played(link.total.up, answers)


def settings(base_url: str, mode: str) -> str:
    return f'[[upstream]]\nname = "provider"\nbase_url = "{base_url}"\nmode = "{mode}"\n'


def rows(run: Fixture, folder: Path) -> Any:
    done = run("report", "--data", folder, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)["rows"]


def report(run: Fixture, folder: Path) -> Any:
    (row,) = rows(run, folder)
    return row


async def test_observe_reports_what_on_saves(serve: Fixture, run: Fixture, tmp_path: Path) -> None:
    async with provider() as upstream:
        observing = serve(settings(upstream, "observe"), data=tmp_path / "observed")
        plain = await play_plainly(observing.url)
        beside: Any = []
        async with asyncio.timeout(30):  # what is not read when a server ends is dropped
            while sum(row["requests"] for row in beside) < TURNS:
                beside = await asyncio.to_thread(rows, run, observing.folder)
        assert observing.stop() == 0
        row = report(run, observing.folder)
        keeping = serve(settings(upstream, "on") + "observe = true\n", data=tmp_path / "kept")
        client = await play_by_client(keeping.url)
        assert keeping.stop() == 0

    assert plain.answers == client.answers == [answer_text(turn + 1) for turn in range(TURNS)]
    saved = plain.bytes_up - client.bytes_up
    assert saved > 0.9 * plain.bytes_up
    assert row["saved_bytes"] == pytest.approx(saved, rel=0.01)
    assert row["requests"] == row["turns"] == TURNS
    assert row["images"] == IMAGES
    assert row["image_bytes"] == sum(len(picture(number)) for number in range(IMAGES))
    assert row["breaks"] == row["dropped"] == 0
    # What the clients of `on` send leaves nothing more to be saved.
    assert report(run, keeping.folder)["saved_bytes"] == 0


async def test_observe_stores_nothing(serve: Fixture, tmp_path: Path) -> None:
    async with provider() as upstream:
        served = serve(settings(upstream, "observe"), data=tmp_path / "observed")
        async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none") as sdk:
            messages: list[Any] = recorded()[:5]
            await sdk.chat.completions.create(
                model="any", messages=messages, extra_headers={"Coatcheck-Prompt": "keep"}
            )
        assert served.stop() == 0
    _check_holds_nothing(served.folder)


def _check_holds_nothing(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    disk = b"".join(path.read_bytes() for path in files)
    assert SECRET[:20].encode() not in disk
    assert b"coat, of course" not in disk
    for number in range(3):
        data = picture(number)
        assert data[100:160] not in disk
        assert base64.b64encode(data[99:159]) not in disk
    assert _count(folder / "index.sqlite", "blobs") == 0
    assert _count(folder / "index.sqlite", "grants") == 0
    assert _count(folder / "prompts.sqlite", "prompts") == 0
    names = {path.name for path in files}
    assert not [name for name in names if len(name) >= 64]  # no blob, by its digits
    assert "observations.db" in names


def _count(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        row: tuple[int] = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    return row[0]
