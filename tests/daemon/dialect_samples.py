"""What each dialect's requests and answers look like, for the tests that hold for all of them."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from coatcheck.protocol import (
    DIALECTS,
    Dialect,
    Digest,
    Json,
    JsonObject,
    Pointer,
    SseReader,
    decode_json,
    dotted,
    framed,
    messages_in,
    messages_path,
    with_framed,
)

Part = Callable[[str, str], Json]
"""Makes a part of a media type and a URL, a data URL or another."""


@dataclass(frozen=True)
class Sample:
    """One dialect.

    `part` makes an image's part of a media type and a data URL or ref. `file` makes one that names
    an uploaded file, `file_ref` the same with a ref in the id's place. `key` is the path's last step in `missing`, for each.
    """

    name: str
    path: str
    stream_path: str
    count_path: str
    key: Callable[[str], str]
    part: Part
    file: Callable[[str], Json]
    file_ref: Callable[[str], Json]
    file_key: str
    body: Callable[[Sequence[Json]], JsonObject]
    """A request of these messages."""
    message: Callable[[Sequence[Json]], Json]
    """A user's message of these parts, before which stands some text."""
    said: Callable[[Any], str]
    delta: Callable[[Any], str]
    counted: Callable[[Any], int]
    code: Callable[[Any], str]
    extension: Callable[[Any], Mapping[str, Any]]
    streaming: JsonObject = field(default_factory=dict[str, Json])
    foreign_file_code: str = "file_not_found"
    """What echo says of a provider's own file."""
    for_ann: JsonObject = field(default_factory=dict[str, Json])
    """What names the end user `ann` beside the messages; empty where the dialect has no field."""

    @property
    def spoken(self) -> Dialect:
        """The dialect itself."""
        return DIALECTS[self.name]

    @property
    def messages_key(self) -> str:
        """The key of the message list, wherever that stands."""
        return self.spoken.messages_key

    def messages(self, body: Json) -> list[Any]:
        """Return the message list of a body."""
        assert isinstance(body, dict)
        listed = messages_in(self.spoken, body)
        assert isinstance(listed, list)
        return listed

    def enveloped(self, envelope: JsonObject) -> JsonObject:
        """Return a request with an envelope in the place of its messages."""
        body = self.body([])
        inner = dict(framed(self.spoken, body))
        del inner[self.messages_key]
        return {**with_framed(self.spoken, body, inner), "coatcheck": envelope}

    def refused(self, status: int) -> int:
        """Return the status with which its clients are refused what another's are refused with `status`."""
        return status if self.spoken.provider.told_by(self.path) == "status" else 200

    @property
    def paths(self) -> Sequence[str]:
        """Where its requests go: whole, streamed, and counted where that can be asked for."""
        return [path for path in (self.path, self.stream_path, self.count_path) if path]

    def ask(self, *parts: Json, **fields: Json) -> JsonObject:
        """Return a request of one message."""
        return {**self.body([self.message(parts)]), **fields}

    def inline(self, data: bytes, media_type: str = "image/png") -> Json:
        """Return a part with its bytes."""
        return self.part(media_type, data_url(data, media_type))

    def ref(self, data: bytes, media_type: str = "image/png") -> Json:
        """Return the same part with a ref."""
        return self.part(media_type, f"blob:{Digest.of(data)}")

    def pointer(self, data: bytes, media_type: str = "image/png") -> Json:
        """Return the same part with a pointer in place of the bytes."""
        return self.inline(str(Pointer(Digest.of(data), len(data))).encode(), media_type)

    def place(self, message: int, part: int, key: str) -> str:
        """Return where a part stands, as `missing` names it; the text before it counts."""
        listed = dotted(messages_path(self.spoken))
        return f"{listed}.{message}.{self._parts_key}.{part + 1}.{key}"

    @property
    def _parts_key(self) -> str:
        return "parts" if self.messages_key == "contents" else "content"


def data_url(data: bytes, media_type: str) -> str:
    """Write bytes as a data URL."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def stream_events(data: bytes) -> list[Any]:
    """Return the JSON of each event of a stream, but `[DONE]`."""
    return [json.loads(event.data) for event in SseReader().feed(data) if event.data != "[DONE]"]


def read_answer(data: bytes) -> Any:
    """Return an answer's JSON; of a stream that of its event, or of all of them in a list."""
    if not data.startswith(b"data:"):
        return decode_json(data)
    events = stream_events(data)
    return events[0] if len(events) == 1 else events


def _split(url: str) -> str | None:
    return url.partition(";base64,")[2] or None


def _chat_part(media_type: str, url: str) -> Json:
    return {"type": "image_url", "image_url": {"url": url, "detail": "high"}}


def _responses_part(media_type: str, url: str) -> Json:
    return {"type": "input_image", "image_url": url, "detail": "auto"}


def _anthropic_part(media_type: str, url: str) -> Json:
    data = _split(url)
    source: Json = {"type": "base64", "media_type": media_type, "data": data}
    return {
        "type": "image",
        "source": source if data else {"type": "url", "url": url},
        "cache_control": {"type": "ephemeral"},
    }


def _gemini_part(media_type: str, url: str) -> Json:
    if data := _split(url):
        return {"inlineData": {"mimeType": media_type, "data": data}}
    return {"fileData": {"fileUri": url, "mimeType": media_type}}


def _dify_part(media_type: str, url: str) -> Json:
    data = _split(url)
    return {
        "type": "image",
        "format": media_type.partition("/")[2],
        "base64_data": data or "",
        "url": "" if data else url,
        "mime_type": media_type,
        "filename": "p.png",
        "detail": "low",
    }


def _raised(answer: Any) -> Mapping[str, Any]:
    said = json.loads(json.loads(answer["message"])["message"])
    args: Mapping[str, Any] = said["args"]
    return args


def _chunk_text(frame: Any) -> str:
    content = frame["data"]["delta"]["message"]["content"]
    assert isinstance(content, str)
    return content


def _user(*, text: JsonObject, key: str = "content") -> Callable[[Sequence[Json]], Json]:
    return lambda parts: {"role": "user", key: [text, *parts]}


def _joined(items: Any) -> str:
    return "".join(item.get("text", "") for item in items)


SAMPLES = (
    Sample(
        name="openai.chat",
        path="/v1/chat/completions",
        stream_path="/v1/chat/completions",
        count_path="",
        key=lambda url: "image_url",
        part=_chat_part,
        file=lambda file_id: {"type": "file", "file": {"file_id": file_id}},
        file_ref=lambda ref: {"type": "file", "file": {"file_data": ref}},
        file_key="file",
        body=lambda messages: {"model": "m", "messages": messages},
        message=_user(text={"type": "text", "text": "Look"}),
        said=lambda answer: answer["choices"][0]["message"]["content"],
        delta=lambda event: event["choices"][0]["delta"].get("content", ""),
        counted=lambda answer: 0,
        code=lambda answer: answer["error"]["code"],
        extension=lambda answer: answer["error"],
        streaming={"stream": True},
        for_ann={"safety_identifier": "ann", "user": "bob"},
    ),
    Sample(
        name="openai.responses",
        path="/v1/responses",
        stream_path="/v1/responses",
        count_path="/v1/responses/input_tokens",
        key=lambda url: "image_url",
        part=_responses_part,
        file=lambda file_id: {"type": "input_image", "file_id": file_id},
        file_ref=lambda ref: {"type": "input_image", "image_url": ref},
        file_key="file_id",
        body=lambda messages: {"model": "m", "input": messages},
        message=_user(text={"type": "input_text", "text": "Look"}),
        said=lambda answer: _joined(answer["output"][0]["content"]),
        delta=lambda event: event["delta"] if event["type"] == "response.output_text.delta" else "",
        counted=lambda answer: answer["input_tokens"],
        code=lambda answer: answer["error"]["code"],
        extension=lambda answer: answer["error"],
        streaming={"stream": True},
        for_ann={"safety_identifier": "ann", "user": "bob"},
    ),
    Sample(
        name="anthropic.messages",
        path="/v1/messages",
        stream_path="/v1/messages",
        count_path="/v1/messages/count_tokens",
        key=lambda url: "source",
        part=_anthropic_part,
        file=lambda file_id: {"type": "image", "source": {"type": "file", "file_id": file_id}},
        file_ref=lambda ref: {"type": "image", "source": {"type": "url", "url": ref}},
        file_key="source",
        body=lambda messages: {"model": "m", "max_tokens": 100, "messages": messages},
        message=_user(text={"type": "text", "text": "Look"}),
        said=lambda answer: _joined(answer["content"]),
        delta=lambda event: (
            event["delta"]["text"] if event["type"] == "content_block_delta" else ""
        ),
        counted=lambda answer: answer["input_tokens"],
        code=lambda answer: answer["error"]["details"]["error_code"],
        extension=lambda answer: answer["error"]["details"],
        streaming={"stream": True},
        for_ann={"metadata": {"user_id": "ann"}},
    ),
    Sample(
        name="gemini.generate",
        path="/v1beta/models/m:generateContent",
        stream_path="/v1beta/models/m:streamGenerateContent?alt=sse",
        count_path="/v1/models/m:countTokens",
        key=lambda url: "inlineData" if _split(url) else "fileData",
        part=_gemini_part,
        file=lambda file_id: {"fileData": {"fileUri": f"files/{file_id}"}},
        file_ref=lambda ref: {"fileData": {"fileUri": ref}},
        file_key="fileData",
        body=lambda messages: {"contents": messages},
        message=_user(text={"text": "Look"}, key="parts"),
        said=lambda answer: _joined(answer["candidates"][0]["content"]["parts"]),
        delta=lambda event: _joined(event["candidates"][0]["content"]["parts"]),
        counted=lambda answer: answer["totalTokens"],
        code=lambda answer: answer["error"]["details"][0]["code"],
        extension=lambda answer: answer["error"]["details"][0],
    ),
    Sample(
        name="dify.llm",
        path="/plugin/tenant-1/dispatch/llm/invoke",
        stream_path="/v2/invoke/dispatch/llm/invoke",
        count_path="/plugin/tenant-1/dispatch/llm/num_tokens",
        key=lambda url: "base64_data" if _split(url) else "url",
        part=_dify_part,
        file=lambda file_id: _dify_part("image/png", file_id),
        file_ref=lambda ref: _dify_part("image/png", ref),
        file_key="url",
        body=lambda messages: {
            "user_id": None,
            "data": {
                "provider": "p",
                "model_type": "llm",
                "model": "m",
                "credentials": {"key": "secret"},
                "prompt_messages": messages,
                "stream": True,
            },
        },
        message=_user(text={"type": "text", "data": "Look"}),
        said=lambda frames: "".join(map(_chunk_text, frames)),
        delta=_chunk_text,
        counted=lambda answer: answer["data"]["num_tokens"],
        code=lambda answer: _raised(answer)["code"],
        extension=_raised,
        foreign_file_code="invalid_image_url",
        for_ann={"user_id": "ann"},
    ),
)
BY_NAME: Mapping[str, Sample] = {sample.name: sample for sample in SAMPLES}
