"""What each dialect's requests and answers look like, for the tests that hold for all of them."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from coatcheck.protocol import Digest, Json, JsonObject, Pointer, SseReader

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
    messages_key: str
    code: Callable[[Any], str]
    extension: Callable[[Any], Mapping[str, Any]]
    streaming: JsonObject = field(default_factory=dict[str, Json])
    for_ann: JsonObject = field(default_factory=dict[str, Json])
    """What names the end user `ann` beside the messages; empty where the dialect has no field."""

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
        return f"{self.messages_key}.{message}.{self._parts_key}.{part + 1}.{key}"

    @property
    def _parts_key(self) -> str:
        return "parts" if self.messages_key == "contents" else "content"


def data_url(data: bytes, media_type: str) -> str:
    """Write bytes as a data URL."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def stream_events(data: bytes) -> list[Any]:
    """Return the JSON of each event of a stream, but `[DONE]`."""
    return [json.loads(event.data) for event in SseReader().feed(data) if event.data != "[DONE]"]


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
        messages_key="messages",
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
        messages_key="input",
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
        messages_key="messages",
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
        messages_key="contents",
        code=lambda answer: answer["error"]["details"][0]["code"],
        extension=lambda answer: answer["error"]["details"][0],
    ),
)
