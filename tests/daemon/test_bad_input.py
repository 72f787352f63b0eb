"""What bad input gets, in every dialect, at every place of an attachment.

Each body is sent to `echo`, which judges like a provider, and to an upstream over HTTP. What breaks a
rule of ours is refused either way and never forwarded; what is the provider's to judge goes on as
the bytes that came. No answer is a 5xx, and every error has the provider's shape.
"""

import base64
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Literal

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web as aioweb

from coatcheck.daemon import Daemon, DaemonConfig, UpstreamConfig
from coatcheck.daemon.observed_turn import ReadLimits, read_turn
from coatcheck.protocol import DIALECTS, Digest, JsonObject
from coatcheck.web import Server, build_app, join_faces

from .attachment_positions import Position, every_position
from .conftest import MemoryBlobs, MemoryPrompts
from .dialect_samples import BY_NAME, read_answer

POSITIONS = every_position()
GIF = base64.b64decode("R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs=")
MARK = "@here@"
DEPTH = 10_000

Outcome = Literal["refused", "passes"]


@dataclass(frozen=True)
class Fault:
    """Something wrong at a place, and what it gets where the upstream is one over HTTP."""

    about: str
    remote: Outcome
    codes: frozenset[str]
    """By which it is refused: one of ours, or where that passes it one of echo's."""
    status: int = 400


def spell(position: Position, base64_text: str, comma: str = ",") -> str:
    """Write base64 as it stands at a place."""
    if position.spelled == "base64":
        return base64_text
    return f"data:{position.media_type};base64{comma}{base64_text}"


def quoted(text: str) -> bytes:
    return json.dumps(text).encode()


ENCODED = base64.b64encode(GIF).decode()
POINTER = base64.b64encode(b"version coatcheck-pointer/1\nsize 1\n").decode()
LATER = frozenset(
    {
        *("invalid_base64", "invalid_image_url", "invalid_image_format", "invalid_image"),
        *("invalid_request", "invalid_value", "message_malformed"),
    }
)
JSON, WRONG = frozenset({"json_invalid"}), frozenset({"message_malformed"})


def faults(position: Position) -> Sequence[tuple[Fault, bytes]]:
    """Return what may stand at a place, each with its JSON text."""
    ours = [
        (Fault(f"wrong type {text!r}", "refused", WRONG), text)
        for text in (b"1", b"true", b"[]", b"{}", b"1.5", b"[[]]", b'[{"a":null}]', b'{"url":[]}')
        if not (position.about == "image as a string" and text.startswith(b"{"))
    ]
    ours += [
        (Fault("NaN", "refused", JSON), b"NaN"),
        (Fault("infinity", "refused", JSON), b"-Infinity"),
        (Fault("beyond a double", "refused", JSON), b"1e999"),
        (Fault("an integer of 100,000 digits", "refused", JSON), b"9" * 100_000),
        (Fault("depth, lists", "refused", JSON), b"[" * DEPTH + b"]" * DEPTH),
        (Fault("depth, objects", "refused", JSON), b'{"a":' * DEPTH + b"1" + b"}" * DEPTH),
        (Fault("depth, no end", "refused", JSON), b"[" * DEPTH),
        (Fault("duplicate keys below", "refused", JSON), b'{"a":1,"a":2}'),
        (Fault("a string without an end", "refused", JSON), b'"' + ENCODED.encode()),
        (Fault("a control character", "refused", JSON), b'"\n"'),
        (Fault("invalid UTF-8", "refused", JSON), b'"\xff\xfe"'),
        (Fault("a surrogate in UTF-8", "refused", JSON), b'"\xed\xa0\x80"'),
        (Fault("a broken escape", "refused", JSON), rb'"\ud8"'),
        (Fault("a malformed ref", "refused", frozenset({"ref_invalid"})), b'"blob:sha256:xyz"'),
        (
            Fault("a long ref with a surrogate", "refused", frozenset({"ref_invalid"})),
            rb'"blob:sha256:\udc80' + b"x" * 100_000 + b'"',
        ),
        (
            Fault("a malformed pointer", "refused", frozenset({"pointer_invalid"})),
            quoted(spell(position, POINTER)),
        ),
        (
            Fault("an unknown ref", "refused", frozenset({"blob_not_found"}), 404),
            quoted(f"blob:{Digest.of(b'nobody has this')}"),
        ),
    ]
    theirs = {
        "truncated base64": quoted(spell(position, ENCODED[:-1])),
        "base64 cut inside": quoted(spell(position, ENCODED[:-6])),
        "base64 with a space": quoted(spell(position, f"{ENCODED[:8]} {ENCODED[8:]}")),
        "bits after the last byte": quoted(spell(position, "AB==")),
        "no base64": quoted(spell(position, "%%%%")),
        "base64 that is not ASCII": quoted(spell(position, "Größe")),
        "a lone surrogate": quoted(spell(position, "\ud800AAA")),
        "a NUL": quoted(spell(position, "\0AAA")),
        "bytes that are no picture": quoted(spell(position, "AAAA")),
        "a broken picture": quoted(spell(position, base64.b64encode(GIF[:20]).decode())),
        "nothing": quoted(""),
        "nothing after the comma": quoted(spell(position, "")),
        "a data URL without a comma": quoted(f"data:{position.media_type};base64{ENCODED}"),
        "a data URL that is not base64": quoted("data:image/png,x"),
        "a data URL of nothing": quoted("data:"),
        "null": b"null",
    }
    return ours + [(Fault(about, "passes", LATER), text) for about, text in theirs.items()]


def bodies(position: Position) -> Sequence[tuple[Fault, bytes]]:
    """Return a request for each thing that may be wrong at a place or around it."""
    whole = json.dumps(position.body(MARK)).encode()
    mark = quoted(MARK)
    assert whole.count(mark) == 1
    found = [(fault, whole.replace(mark, text)) for fault, text in faults(position)]
    if named := re.search(rb'("\w+"): ' + mark, whole):
        twice = named[0].replace(mark, b"null") + b", " + named[0]
        found.append((Fault("a key twice", "refused", JSON), whole.replace(named[0], twice)))
    found.append((Fault("a body cut short", "refused", JSON), whole[: whole.index(mark)]))
    if position.holder:
        around = json.dumps(position.holder(MARK)).encode()
        for text in (b"1", b"true", b"[[]]", b"[1]"):
            about = f"wrong type {text!r} around it"
            found.append((Fault(about, "refused", WRONG), around.replace(mark, text)))
    return found


@dataclass
class Rig:
    """A daemon with `echo`, one with upstreams over HTTP, and what those received."""

    http: aiohttp.ClientSession
    echo: str
    remote: str
    seen: list[bytes]

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes, Mapping[str, str]]:
        async with self.http.post(url, data=body, headers=headers) as response:
            return response.status, await response.read(), response.headers


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig() -> AsyncIterator[Rig]:
    """Start it once for the module."""
    seen: list[bytes] = []

    async def record(request: aioweb.Request) -> aioweb.StreamResponse:
        seen.append(await request.read())
        return aioweb.json_response({"ok": True})

    async with AsyncExitStack() as stack:
        app = aioweb.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", record)
        runner = aioweb.AppRunner(app, access_log=None)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await aioweb.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        upstreams = [
            UpstreamConfig(name=name, dialect=name, base_url=f"http://127.0.0.1:{port}/v1")
            for name in DIALECTS
        ]
        urls: list[str] = []
        for config in (DaemonConfig(), DaemonConfig(upstreams=upstreams)):
            daemon = Daemon.open(config, MemoryBlobs(), MemoryPrompts())
            stack.push_async_callback(daemon.close)
            server = Server(build_app(join_faces([daemon.face()], title="t", version="0")))
            stack.push_async_callback(server.stop)
            urls.append((await server.start()).url)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield Rig(http, urls[0], urls[1], seen)


def code_of(dialect: str, answer: bytes) -> str:
    """Return the code of an error in the provider's shape, which it must have."""
    error: Any = read_answer(answer)
    DIALECTS[dialect].provider.error_model.model_validate(error, strict=True)
    match dialect:
        case "anthropic.messages":
            return str(error["error"]["details"]["error_code"])
        case "gemini.generate":
            return str(error["error"]["details"][0]["code"])
        case "dify.llm":
            return str(BY_NAME[dialect].code(error))
        case _:
            return str(error["error"]["code"])


def check_refusal(
    dialect: str, fault: Fault, status: int, answer: bytes, headers: Mapping[str, str]
) -> None:
    """Say that an answer is the refusal of a fault, in the provider's shape and not too long."""
    code = code_of(dialect, answer)
    assert code in fault.codes, answer
    in_stream = DIALECTS[dialect].provider.frame is not None
    assert status == (200 if in_stream else fault.status), (status, code)
    kind = "text/event-stream" if in_stream else "application/json"
    assert headers["Content-Type"].startswith(kind)
    assert len(answer) < 2000


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("position", POSITIONS, ids=str)
async def test_bad_input_at_a_place(rig: Rig, position: Position) -> None:
    for fault, body in bodies(position):
        for keep in ({}, {"Coatcheck-Prompt": "keep", "Coatcheck-Refs": "1"}):
            rig.seen.clear()
            status, answer, headers = await rig.post(rig.remote + position.path, body, keep)
            if fault.remote == "passes":
                assert (status, rig.seen) == (200, [body]), (fault.about, status, answer)
            else:
                check_refusal(position.dialect, fault, status, answer, headers)
                assert headers["x-should-retry"] == "false"
                assert not rig.seen, fault.about
        status, answer, headers = await rig.post(rig.echo + position.path, body)
        if not is_taken_by_echo(position, fault):
            check_refusal(position.dialect, fault, status, answer, headers)
        else:
            assert status == 200, answer


def is_taken_by_echo(position: Position, fault: Fault) -> bool:
    """Whether echo minds: it does not listen to sound or look at video, and a picture may not be there yet."""
    if position.media_type in ("audio/wav", "video/mp4"):
        return fault.about in ("bytes that are no picture", "a broken picture")
    return position.about == "generated image" and fault.about == "null"


@pytest.mark.parametrize("position", POSITIONS, ids=str)
def test_bad_input_is_read_for_the_report_or_left(position: Position) -> None:
    for _, body in bodies(position):
        read_turn(body, DIALECTS[position.dialect], ReadLimits())


def test_every_dialect_has_its_places() -> None:
    assert {position.dialect for position in POSITIONS} == set(DIALECTS)
    assert len({str(position) for position in POSITIONS}) == len(POSITIONS)


BODIES: Mapping[str, JsonObject] = {
    position.dialect: position.body(spell(position, ENCODED)) for position in reversed(POSITIONS)
}
