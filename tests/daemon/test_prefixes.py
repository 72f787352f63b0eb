"""Prompt caching: each turn's upstream body begins with all that the turn before said of its messages.

Over fifty turns, in every dialect, for every way in which a client may send its attachments, whole
lists and envelopes, streamed and not, through a store in the process and through one elsewhere
whose daemon's cache is too small; and after a client went back to edit a message.
"""

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import aiohttp
import pytest
from aiohttp import web as aioweb

from coatcheck.api import face
from coatcheck.daemon import (
    Daemon,
    DaemonConfig,
    EmbeddedBlobs,
    EmbeddedPrompts,
    UpstreamConfig,
)
from coatcheck.protocol import Digest, Json, JsonObject
from coatcheck.store import Store, StoreConfig
from coatcheck.web import Server, build_app, join_faces

from .dialect_samples import SAMPLES, Sample
from .remote import ALICE, Clock, Keyring, StoreServer, open_remote
from .reuse.engine import Engine
from .reuse.provider import Provider
from .reuse.rig import served

Fixture = Callable[..., Any]
Way = Literal["ref", "pointer", "file", "url", "inline", "mixed", "text, then ref"]
Sending = Literal["whole", "envelope"]
Spelling = Callable[[Json], bytes]
TURNS = 50
EDITED = 21
TEXT = 'Größe 1/2 <b> & "µ" \u2028 \x7f \U0001f600'


def compact(value: Json) -> bytes:
    """Write JSON as most SDKs do."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def spaced(value: Json) -> bytes:
    """Write JSON as Google's Python SDK does."""
    return json.dumps(value).encode()


def escaped(value: Json) -> bytes:
    """Write JSON as Go does, and PHP: with escapes that nobody needs; and numbers as they like."""
    text = json.dumps(value, ensure_ascii=False, indent=1)
    for character in "<>&\u2028":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.replace("/", "\\/").replace("1.5", "1.50").encode()


SPELLINGS: Mapping[str, Spelling] = {"compact": compact, "spaced": spaced, "escaped": escaped}


@dataclass
class Client:
    """Talks to one gateway in one way; `bodies` has what the upstream got, turn by turn."""

    http: aiohttp.ClientSession
    url: str
    sample: Sample
    sending: Sending
    spelling: Spelling
    seen: list[bytes]
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    meant: Callable[[str], str] = lambda body: body
    """Returns a body without what is not part of the prompt."""
    digests: list[str] = field(default_factory=list[str])

    async def turn(self, messages: Sequence[Json], known: int, *, is_streamed: bool) -> str:
        """Send a turn; all but the messages from `known` on may be left out."""
        if self.sending == "whole":
            asked = self.sample.body(messages)
        else:
            parent = self.digests[known - 1] if known else None
            asked = self.sample.enveloped({"parent": parent, "append": [*messages[known:]]})
        rest: JsonObject = {"temperature": 1.5, **asked}
        if is_streamed:
            rest |= self.sample.streaming
        key = self.sample.messages_key
        path = self.sample.stream_path if is_streamed else self.sample.path
        async with self.http.post(
            self.url + path, data=self.spelling(rest), headers=self.headers
        ) as response:
            assert response.status == 200, await response.text()
            if self.sending == "envelope":
                del self.digests[known:]
                self.digests += [""] * (len(messages) - known - 1)
                self.digests.append(response.headers["Coatcheck-Prompt"])
        return self.meant(listed(self.seen[-1].decode(), key))


def listed(body: str, key: str) -> str:
    """Return a body from its list of messages on."""
    return body[body.index("[", body.index(f'"{key}"')) :]


def ends(text: str) -> list[int]:
    """Return where each message of a list ends, in order."""
    at = 1
    found: list[int] = []
    decoder = json.JSONDecoder()
    while True:
        while text[at] in ", \n\t":
            at += 1
        if text[at] == "]":
            return found
        _, at = decoder.raw_decode(text, at)
        found.append(at)


def picture_of(number: int) -> bytes:
    """Return bytes that look like a picture's; some are met again in later turns."""
    return b"\x89PNG\r\n\x1a\n" + bytes([number % 17]) * (20 + number % 3)


PICTURES = [picture_of(number) for number in range(TURNS)]
FILE_IDS = {f"file-cc{'abcdefghijklmnopqrstuvwxyz'[n % 26]}{'a' * 23}": n for n in range(17)}


def message(sample: Sample, way: Way, number: int, origin: str, pictures: Sequence[bytes]) -> Json:
    """Return a user's message of a turn."""
    data = pictures[number % len(pictures)]
    text: Json = {"text": f"{number} {TEXT}"}
    if sample.name == "dify.llm":
        text = {"type": "text", "data": f"{number} {TEXT}"}
    elif sample.name != "gemini.generate":
        kind = "input_text" if sample.name == "openai.responses" else "text"
        text = {"type": kind, "text": f"{number} {TEXT}"}
    file_id = list(FILE_IDS)[number % 17]
    makers: Mapping[str, Callable[[], Json]] = {
        "ref": lambda: sample.ref(data),
        "pointer": lambda: sample.pointer(data),
        "file": lambda: sample.file(file_id),
        "url": lambda: sample.part("image/png", f"{origin}/v1/blobs/{Digest.of(data)}"),
        "inline": lambda: sample.inline(data),
    }
    if way == "mixed":
        made = [make() for make in islice(makers.values(), number % 5, 5)]
    elif way == "text, then ref":
        made = [makers["ref"]()] * (number > 3)
    else:
        made = [makers[way]()] * (1 + number % 2)
    return sample.message([text, *made])


def answer(sample: Sample, number: int) -> Json:
    """Return the model's message, as a client sends it back."""
    if sample.name == "gemini.generate":
        return {"role": "model", "parts": [{"text": f"{TEXT} {number}"}]}
    return {"role": "assistant", "content": f"{TEXT} {number}"}


async def converse(client: Client, way: Way, pictures: Sequence[bytes] = PICTURES) -> None:
    """Hold a conversation of fifty turns, and look at each body that the upstream got."""
    sample, origin = client.sample, client.url
    messages: list[Json] = []
    known, before = 0, ""
    were: list[int] = []
    for number in range(TURNS):
        if number == TURNS // 2:
            del messages[EDITED:]  # the client went back, and asks something else
            known = EDITED
        messages.append(message(sample, way, number, origin, pictures))
        body = await client.turn(messages, known, is_streamed=number % 3 == 1)
        now = ends(body)
        assert len(now) == len(messages)
        if known:
            end = were[known - 1]
            shown = (
                f"turn {number}: {before[max(0, end - 300) : end]!r}, then {body[:end][-300:]!r}"
            )
            assert body[:end] == before[:end], shown
        before, were, known = body, now, len(messages)
        messages.append(answer(sample, number))


@dataclass
class Recorder:
    """An upstream that keeps what it gets."""

    url: str
    seen: list[bytes]

    def config(self, dialect: str, mode: Any = "on") -> UpstreamConfig:
        base = "/v1" if dialect.startswith("openai") else ""
        return UpstreamConfig(
            name=dialect, dialect=dialect, base_url=self.url + base, models=("m",), mode=mode
        )


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    seen: list[bytes] = []

    async def record(request: aioweb.Request) -> aioweb.StreamResponse:
        seen.append(await request.read())
        return aioweb.json_response({"ok": True})

    app = aioweb.Application()
    app.router.add_route("*", "/{path:.*}", record)
    runner = aioweb.AppRunner(app, access_log=None)
    await runner.setup()
    await aioweb.TCPSite(runner, "127.0.0.1", 0).start()
    yield Recorder(f"http://127.0.0.1:{runner.addresses[0][1]}", seen)
    await runner.cleanup()


every_dialect = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
CASES: Sequence[tuple[Sending, Way, str]] = (
    ("whole", "inline", "compact"),
    ("whole", "mixed", "spaced"),
    ("whole", "text, then ref", "escaped"),
    ("envelope", "file", "compact"),
    ("envelope", "mixed", "escaped"),
)


@every_dialect
@pytest.mark.parametrize(("sending", "way", "spelling"), CASES)
async def test_fifty_turns(
    run_daemon: Fixture,
    recorder: Recorder,
    sample: Sample,
    sending: Sending,
    way: Way,
    spelling: str,
) -> None:
    daemon = await run_daemon(recorder.config(sample.name))
    for data in PICTURES:
        daemon.blobs.add(data)
    for file_id, number in FILE_IDS.items():
        daemon.blobs.files[file_id] = Digest.of(PICTURES[number])
    http: aiohttp.ClientSession = daemon.http
    client = Client(http, daemon.url, sample, sending, SPELLINGS[spelling], recorder.seen)
    await converse(client, way)


@pytest.mark.parametrize(("sending", "way"), [("whole", "mixed"), ("envelope", "ref")])
@pytest.mark.parametrize("sample", SAMPLES[1:4], ids=lambda sample: sample.name)
async def test_fifty_turns_of_files_at_the_provider(
    run_daemon: Fixture, sample: Sample, sending: Sending, way: Way
) -> None:
    """A file's id stays what it is, however the client writes the attachment in a later turn."""
    provider = Provider(Clock())
    async with served(provider.app()) as origin:
        base = origin + ("/v1" if sample.name.startswith("openai") else "")
        config = UpstreamConfig("up", sample.name, base, api_key="k", reuse="file-id")
        daemon = await run_daemon(config)
        for data in PICTURES:
            daemon.blobs.add(data)
        for file_id, number in FILE_IDS.items():
            daemon.blobs.files[file_id] = Digest.of(PICTURES[number])
        headers = {"anthropic-version": "2023-06-01"} if sample.name.startswith("anth") else {}
        client = Client(daemon.http, daemon.url, sample, sending, compact, provider.bodies, headers)
        await converse(client, way)
    assert set(provider.uploads().values()) == {1}
    assert not provider.inline()


_picture = re.compile(r'"image_url": ?(?:null|\{[^}]*\})')


@pytest.mark.parametrize(("sending", "way"), [("whole", "mixed"), ("envelope", "ref")])
async def test_fifty_turns_of_names_for_an_engine(
    run_daemon: Fixture, sending: Sending, way: Way
) -> None:
    """An engine caches by the name of an image, which stays; its bytes are there in one turn alone."""
    engine = Engine()
    async with served(engine.app()) as origin:
        daemon = await run_daemon(UpstreamConfig("up", base_url=f"{origin}/v1", reuse="uuid"))
        for data in PICTURES:
            daemon.blobs.add(data)
        for file_id, number in FILE_IDS.items():
            daemon.blobs.files[file_id] = Digest.of(PICTURES[number])
        client = Client(
            daemon.http,
            daemon.url,
            SAMPLES[0],
            sending,
            spaced,
            engine.raws,
            meant=lambda body: _picture.sub('"image_url":0', body),
        )
        await converse(client, way)
    assert set(engine.crossed.values()) == {1}
    assert not engine.refused


@every_dialect
@pytest.mark.parametrize("mode", ["pass", "observe"])
async def test_fifty_turns_that_pass(
    run_daemon: Fixture, recorder: Recorder, sample: Sample, mode: str
) -> None:
    daemon = await run_daemon(recorder.config(sample.name, mode))
    client = Client(daemon.http, daemon.url, sample, "whole", escaped, recorder.seen)
    await converse(client, "inline")


async def hand_in(http: aiohttp.ClientSession, url: str) -> None:
    """Upload every picture."""
    for data in set(PICTURES):
        async with http.post(f"{url}/v1/blobs", data=data) as response:
            assert response.status == 201


async def test_fifty_turns_over_a_store_elsewhere_and_a_cache_that_evicts(
    recorder: Recorder, tmp_path: Path
) -> None:
    sample = SAMPLES[0]
    async with AsyncExitStack() as stack:
        store = await StoreServer.open()
        stack.push_async_callback(store.close)
        remote = await open_remote(store, tmp_path, max_bytes=70)  # two pictures
        stack.push_async_callback(remote.close)
        config = DaemonConfig(upstreams=[recorder.config(sample.name)])
        daemon = Daemon.open(config, remote.blobs, remote.prompts, clock=store.clock)
        stack.push_async_callback(daemon.close)
        server = Server(
            build_app(join_faces([daemon.face()], title="t", version="0"), keyring=Keyring())
        )
        stack.push_async_callback(server.stop)
        url = (await server.start()).url
        headers = {"Coatcheck-Key": ALICE}
        http = await stack.enter_async_context(aiohttp.ClientSession(headers=headers))
        await hand_in(http, store.url)
        client = Client(http, url, sample, "whole", compact, recorder.seen)
        await converse(client, "ref", PICTURES[:4])
        fetched = [path for path in store.paths() if path.startswith("GET /v1/blobs/")]
        assert len(fetched) > len(set(fetched))


@every_dialect
async def test_fifty_turns_over_a_store_in_the_process(
    recorder: Recorder, tmp_path: Path, sample: Sample
) -> None:
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(
            await Store.open(StoreConfig(data_folder=tmp_path, min_free_bytes=0))
        )
        config = DaemonConfig(upstreams=[recorder.config(sample.name)])
        daemon = Daemon.open(config, EmbeddedBlobs(store), EmbeddedPrompts(store))
        stack.push_async_callback(daemon.close)
        faces = [face(store), daemon.face()]
        server = Server(build_app(join_faces(faces, title="t", version="0")))
        stack.push_async_callback(server.stop)
        url = (await server.start()).url
        http = await stack.enter_async_context(aiohttp.ClientSession())
        await hand_in(http, url)
        client = Client(http, url, sample, "envelope", compact, recorder.seen)
        await converse(client, "url")
