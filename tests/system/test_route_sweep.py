"""The official SDKs on paths that are no turn of ours: through us is what is without us.

Each call is made four times: directly, and through a server whose upstreams are `pass`, `observe`
and `on`. What the recorder received is compared with what the SDK handed to its own transport in
that very call, since forms have random boundaries; what the SDK received, with what the recorder
sent; and what the SDK made of it, with what it makes of it directly.
"""

import gzip
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from pydantic import BaseModel

Fixture = Callable[..., Any]
pytestmark = [
    pytest.mark.system,
    # The SDK's own about what it will drop one day.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

MODES = ("pass", "observe", "on")
WAYS = ("direct", *MODES)
# What belongs to a connection, or is the server's that one speaks with.
HOP = frozenset({"host", "connection", "keep-alive", "transfer-encoding"})
MP3 = b"ID3\x04\x00" + bytes(range(256)) * 400
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 200
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "model": "m",
    "output": [
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Hi", "annotations": []}],
        }
    ],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}


FILE: dict[str, Any] = {"id": "file_1", "type": "file", "filename": "a.png", "size_bytes": 1}


def listed(*items: Any) -> dict[str, Any]:
    return {"object": "list", "data": list(items), "has_more": False}


def thing(kind: str, **fields: Any) -> dict[str, Any]:
    return {"id": f"{kind}_1", "object": kind, "created_at": 1, **fields}


@dataclass(frozen=True)
class Answer:
    """What the recorder says on a path."""

    body: bytes
    kind: str = "application/json"
    fields: tuple[str, ...] = ()
    is_chunked: bool = False

    def write(self) -> bytes:
        lines = [
            "HTTP/1.1 200 OK",
            f"Content-Type: {self.kind}",
            "Date: Sun, 22 Nov 2026 10:00:00 GMT",
            "Server: recorder",
            "X-Request-Id: req_1",
            "X-Ratelimit-Remaining: 9",
            "x-ratelimit-remaining: 8",
            *self.fields,
        ]
        if not self.is_chunked:
            lines.append(f"Content-Length: {len(self.body)}")
            return "\r\n".join([*lines, "", ""]).encode() + self.body
        pieces = [self.body[at : at + 777] for at in range(0, len(self.body), 777)]
        chunks = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces)
        head = "\r\n".join([*lines, "Transfer-Encoding: chunked", "", ""]).encode()
        return head + chunks + b"0\r\n\r\n"


def json_answer(value: Any) -> Answer:
    return Answer(json.dumps(value, indent=1).encode())


def packed(value: Any) -> Answer:
    return Answer(
        gzip.compress(json.dumps(value).encode()), fields=("Content-Encoding: gzip", "Vary: *")
    )


def stream(*events: tuple[str, Any], ends_with: str = "") -> Answer:
    texts = [
        (f"event: {name}\n" if name else "") + f"data: {json.dumps(data)}\n\n"
        for name, data in events
    ]
    body = "".join([": hello\n\n", *texts, ends_with]).encode()
    return Answer(body, "text/event-stream; charset=utf-8", is_chunked=True)


CHUNK: dict[str, Any] = {"id": "c", "object": "text_completion", "created": 1, "model": "m"}
COMPLETED: dict[str, Any] = {
    "type": "response.completed",
    "sequence_number": 2,
    "response": RESPONSE,
}
DELTA: dict[str, Any] = {
    "type": "response.output_text.delta",
    "sequence_number": 1,
    "item_id": "msg_1",
    "output_index": 0,
    "content_index": 0,
    "delta": "Hi",
    "logprobs": [],
}
CHAT_CHUNK: dict[str, Any] = {
    "id": "c",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}],
}


class Call:
    """One call of an SDK, and what its requests are answered."""

    def __init__(
        self, name: str, run: Callable[[Any], Any], *answers: Answer, is_kept: bool = False
    ) -> None:
        """`is_kept`: the provider hears nothing of it where its upstream is `on`."""
        self.name, self.run, self.answers = name, run, answers
        self.ways = [way for way in WAYS if not (is_kept and way == "on")]


OPENAI = [
    Call(
        "embeddings",
        lambda sdk: sdk.embeddings.create(model="e", input=["a", "b"]),
        packed(
            {
                "object": "list",
                "model": "e",
                "data": [{"object": "embedding", "index": 0, "embedding": "AACAPwAAAEA="}],
                "usage": {"prompt_tokens": 1, "total_tokens": 1},
            }
        ),
    ),
    Call(
        "moderations",
        lambda sdk: sdk.moderations.create(input="x"),
        json_answer({"id": "modr-1", "model": "m", "results": []}),
    ),
    Call(
        "models retrieve",
        lambda sdk: sdk.models.retrieve("ft:gpt-4o:org::a/b"),
        json_answer({"id": "m", "object": "model", "created": 1, "owned_by": "o"}),
    ),
    Call(
        "models delete",
        lambda sdk: sdk.models.delete("ft:x"),
        json_answer({"id": "ft:x", "object": "model", "deleted": True}),
    ),
    Call(
        "audio speech",
        lambda sdk: sdk.audio.speech.create(model="t", voice="alloy", input="hi").read(),
        Answer(MP3, "audio/mpeg", is_chunked=True),
    ),
    Call(
        "audio transcriptions",
        lambda sdk: sdk.audio.transcriptions.create(model="w", file=("a.mp3", MP3, "audio/mpeg")),
        json_answer({"text": "hello"}),
    ),
    Call(
        "audio translations",
        lambda sdk: sdk.audio.translations.create(
            model="w", file=("ä.mp3", io.BytesIO(MP3)), response_format="text"
        ),
        Answer("grüß".encode(), "text/plain; charset=utf-8"),
    ),
    Call(
        "images generate",
        lambda sdk: sdk.images.generate(model="i", prompt="x", n=2),
        json_answer({"created": 1, "data": [{"b64_json": "AAAA"}]}),
    ),
    Call(
        "images edit",
        lambda sdk: sdk.images.edit(
            model="i", image=[("a.png", PNG), ("b.png", PNG)], mask=("m.png", PNG), prompt="x"
        ),
        json_answer({"created": 1, "data": [{"b64_json": "AAAA"}]}),
    ),
    Call(
        "images variations",
        lambda sdk: sdk.images.create_variation(image=("a.png", PNG, "image/png"), n=1),
        json_answer({"created": 1, "data": [{"url": "https://x.example/a"}]}),
    ),
    Call(
        "batches create",
        lambda sdk: sdk.batches.create(
            input_file_id="file-1", endpoint="/v1/chat/completions", completion_window="24h"
        ),
        json_answer(thing("batch", status="validating")),
    ),
    Call(
        "batches list",
        lambda sdk: sdk.batches.list(limit=2, after="batch_0"),
        json_answer(listed(thing("batch", status="failed"))),
    ),
    Call(
        "batches cancel",
        lambda sdk: sdk.batches.cancel("batch_1"),
        json_answer(thing("batch", status="cancelling")),
    ),
    Call(
        "fine-tuning create",
        lambda sdk: sdk.fine_tuning.jobs.create(model="m", training_file="file-1"),
        json_answer(thing("fine_tuning.job", status="queued")),
    ),
    Call(
        "fine-tuning list",
        lambda sdk: sdk.fine_tuning.jobs.list(metadata={"a": "b c&d"}),
        json_answer(listed(thing("fine_tuning.job", status="queued"))),
    ),
    Call(
        "fine-tuning events",
        lambda sdk: sdk.fine_tuning.jobs.list_events("ftjob-1", limit=1),
        json_answer(listed(thing("fine_tuning.job.event", level="info", message="m"))),
    ),
    Call(
        "completions, streamed",
        lambda sdk: list(sdk.completions.create(model="m", prompt="x", stream=True)),
        stream(
            *[
                ("", {**CHUNK, "choices": [{"index": 0, "text": word}]})
                for word in ("a", "b" * 3000)
            ],
            ends_with="data: [DONE]\n\n",
        ),
    ),
    Call(
        "vector stores create",
        lambda sdk: sdk.vector_stores.create(name="v", file_ids=["file-1"]),
        json_answer(thing("vector_store", name="v")),
    ),
    Call(
        "vector stores search",
        lambda sdk: sdk.vector_stores.search("vs_1", query="x"),
        json_answer({"object": "vector_store.search_results.page", "data": [], "has_more": False}),
    ),
    Call(
        "responses create",
        lambda sdk: sdk.responses.create(model="m", input="hi"),
        json_answer(RESPONSE),
    ),
    Call(
        "responses create, streamed",
        lambda sdk: list(sdk.responses.create(model="m", input="hi", stream=True)),
        stream(("response.output_text.delta", DELTA), ("response.completed", COMPLETED)),
    ),
    Call(
        "responses retrieve",
        lambda sdk: sdk.responses.retrieve("resp_1", include=["message.input_image.image_url"]),
        json_answer(RESPONSE),
    ),
    Call(
        "conversations create",
        lambda sdk: sdk.conversations.create(metadata={"a": "ü"}),
        json_answer(thing("conversation", metadata={})),
    ),
    Call(
        "evals list",
        lambda sdk: sdk.evals.list(order_by="updated_at"),
        json_answer(listed(thing("eval", name="e"))),
    ),
    Call(
        "containers create",
        lambda sdk: sdk.containers.create(name="c"),
        json_answer(thing("container", name="c", status="running")),
    ),
    Call(
        "assistants create",
        lambda sdk: sdk.beta.assistants.create(model="m"),
        json_answer(thing("assistant", model="m", tools=[])),
    ),
    Call(
        "threads delete",
        lambda sdk: sdk.beta.threads.delete("thread_1"),
        json_answer({"id": "thread_1", "object": "thread.deleted", "deleted": True}),
    ),
    Call(
        "kept chat completions list",
        lambda sdk: sdk.chat.completions.list(limit=1),
        json_answer(listed()),
    ),
    Call(
        "chat completions, streamed",
        lambda sdk: list(
            sdk.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hi ü"}], stream=True
            )
        ),
        stream(("", CHAT_CHUNK), ends_with="data: [DONE]\n\n"),
    ),
]
# Below the base URL here; Anthropic writes its own host, which leads past us.
RESULTS = "/v1/messages/batches/msgbatch_1/results"
RESULT: dict[str, Any] = {"custom_id": "1", "result": {"type": "succeeded", "message": MESSAGE}}
ANTHROPIC = [
    Call(
        "messages create",
        lambda sdk: sdk.messages.create(
            model="claude", max_tokens=9, messages=[{"role": "user", "content": "hi"}]
        ),
        packed(MESSAGE),
    ),
    Call(
        "messages create, streamed",
        lambda sdk: list(
            sdk.messages.create(
                model="claude",
                max_tokens=9,
                messages=[{"role": "user", "content": "hi"}],
                stream=True,
            )
        ),
        stream(
            ("message_start", {"type": "message_start", "message": MESSAGE}),
            ("ping", {"type": "ping"}),
            ("message_stop", {"type": "message_stop"}),
        ),
    ),
    Call(
        "count tokens",
        lambda sdk: sdk.messages.count_tokens(
            model="claude", messages=[{"role": "user", "content": "hi"}]
        ),
        json_answer({"input_tokens": 3}),
    ),
    Call(
        "models retrieve",
        lambda sdk: sdk.models.retrieve("claude"),
        json_answer(
            {
                "id": "claude",
                "type": "model",
                "display_name": "C",
                "created_at": "2026-01-01T00:00:00Z",
            }
        ),
    ),
    Call(
        "batches create",
        lambda sdk: sdk.messages.batches.create(
            requests=[
                {
                    "custom_id": "1",
                    "params": {
                        "model": "claude",
                        "max_tokens": 1,
                        "messages": [{"role": "user", "content": "x"}],
                    },
                }
            ]
        ),
        json_answer({"id": "msgbatch_1", "type": "message_batch", "processing_status": "ended"}),
    ),
    Call(
        "batches list",
        lambda sdk: sdk.messages.batches.list(),
        json_answer({"data": [], "has_more": False, "first_id": None, "last_id": None}),
    ),
    Call(
        "batches results",
        lambda sdk: list(sdk.messages.batches.results("msgbatch_1")),
        json_answer({"id": "msgbatch_1", "type": "message_batch", "results_url": RESULTS}),
        Answer(f"{json.dumps(RESULT)}\n".encode() * 50, "application/x-jsonl", is_chunked=True),
    ),
    Call(
        "files upload",
        lambda sdk: sdk.beta.files.upload(file=("a.png", PNG, "image/png")),
        json_answer(FILE),
        is_kept=True,
    ),
    Call(
        "files retrieve", lambda sdk: sdk.beta.files.retrieve_metadata("file_1"), json_answer(FILE)
    ),
]


@dataclass
class Wire:
    """A transport that keeps what an SDK hands to it, and what comes back."""

    requests: list[httpx2.Request] = field(default_factory=list[httpx2.Request])
    bodies: list[bytes] = field(default_factory=list[bytes])
    heads: list[list[tuple[str, str]]] = field(default_factory=list[list[tuple[str, str]]])
    answers: list[bytearray] = field(default_factory=list[bytearray])

    def client(self) -> httpx2.Client:
        return httpx2.Client(transport=_Transport(self), trust_env=False)


class _Transport(httpx2.HTTPTransport):
    def __init__(self, wire: Wire) -> None:
        super().__init__(trust_env=False)
        self._wire = wire

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        assert isinstance(request.stream, Iterable)
        body = b"".join(request.stream)
        self._wire.requests.append(request)
        self._wire.bodies.append(body)
        request.stream = httpx2.ByteStream(body)
        response = super().handle_request(request)
        raw = [(name.decode().lower(), value.decode()) for name, value in response.headers.raw]
        self._wire.heads.append([pair for pair in raw if pair[0] not in HOP])
        self._wire.answers.append(bytearray())
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = _Tee(response.stream, self._wire.answers[-1])
        return response


class _Tee(httpx2.SyncByteStream):
    def __init__(self, inner: httpx2.SyncByteStream, kept: bytearray) -> None:
        self._inner, self._kept = inner, kept

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._inner:
            self._kept += chunk
            yield chunk

    def close(self) -> None:
        self._inner.close()


def plain(value: Any) -> Any:
    """Return what an SDK made of an answer, to be compared."""
    if isinstance(value, BaseModel):
        return type(value).__name__, value.model_dump()
    if isinstance(value, list):
        return [plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value


@pytest.fixture(scope="module")
def recorder(run_recorder: Fixture) -> Any:
    return run_recorder()


SETTINGS = """
[[upstream]]
name = "openai"
base_url = "{url}/v1"
mode = "{mode}"

[[upstream]]
name = "anthropic"
dialect = "anthropic.messages"
base_url = "{url}"
mode = "{mode}"
"""


@pytest.fixture(scope="module")
def ways(recorder: Any, serve_long: Fixture, tmp_path_factory: Any) -> dict[str, str]:
    """Return the origin of each way."""
    folder = tmp_path_factory.mktemp("data")
    served = {
        mode: serve_long(SETTINGS.format(url=recorder.url, mode=mode), data=folder / mode).url
        for mode in MODES
    }
    return {"direct": recorder.url, **served}


def check(
    recorder: Any, ways: dict[str, str], call: Call, sdk: Callable[[str, httpx2.Client], Any]
) -> None:
    """Make a call each way, and compare."""
    parsed: dict[str, Any] = {}
    heads: dict[str, Any] = {}
    for way in call.ways:
        recorder.seen.clear()
        recorder.answers = [answer.write() for answer in call.answers]
        wire = Wire()
        with wire.client() as http:
            parsed[way] = plain(call.run(sdk(ways[way], http)))
        assert len(recorder.seen) == len(call.answers), way
        for seen, sent, body in zip(recorder.seen, wire.requests, wire.bodies, strict=True):
            assert seen.method == sent.method, way
            assert seen.target == sent.url.raw_path.decode(), way
            assert seen.body == body, way
            raw = ((name.decode(), value.decode()) for name, value in sent.headers.raw)
            assert _headers(seen.headers) == _headers(raw), way
        assert list(map(bytes, wire.answers)) == [answer.body for answer in call.answers], way
        heads[way] = wire.heads
    for way in call.ways[1:]:
        assert parsed[way] == parsed["direct"], way
        assert heads[way] == heads["direct"], way


def _headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return headers in order, the body's length last: it is written anew with the framing."""
    passed = [(name.lower(), value) for name, value in headers if name.lower() not in HOP]
    return sorted(passed, key=lambda pair: pair[0] == "content-length")


@pytest.mark.parametrize("call", OPENAI, ids=lambda call: call.name)
def test_openai(recorder: Any, ways: dict[str, str], call: Call) -> None:
    check(
        recorder,
        ways,
        call,
        lambda url, http: openai.OpenAI(
            base_url=f"{url}/v1",
            api_key="sk-theirs",
            http_client=http,
            max_retries=0,
        ),
    )


@pytest.mark.parametrize("call", ANTHROPIC, ids=lambda call: call.name)
def test_anthropic(recorder: Any, ways: dict[str, str], call: Call) -> None:
    check(
        recorder,
        ways,
        call,
        lambda url, http: anthropic.Anthropic(
            base_url=url,
            api_key="sk-theirs",
            http_client=http,
            max_retries=0,
        ),
    )
