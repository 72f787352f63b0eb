"""Request bodies over the five dialects, each with places for attachments.

`Place` says where one stands: the corpus' reader puts the bytes there inline, as a client would that
talks to its provider itself, or names them by a ref, a pointer or the URL of a blob.
"""

import base64
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from PIL import Image

from coatcheck.protocol import Digest, Json, JsonObject, Pointer

Spelling = Literal["inline", "ref", "pointer", "url"]
SPELLINGS: tuple[Spelling, ...] = ("inline", "ref", "pointer", "url")


@dataclass(frozen=True)
class Row:
    """One request: its dialect, its path, what it is about, and its body in a spelling."""

    dialect: str
    path: str
    about: str
    body: Callable[["Spell"], JsonObject]


def _picture(kind: str, colour: str, size: tuple[int, int] = (5, 4)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, kind)
    return file.getvalue()


@cache
def blobs() -> Mapping[str, tuple[bytes, str]]:
    """Return the attachments by name: bytes, and the type that is declared for them."""
    return {
        "png": (_picture("PNG", "red"), "image/png"),
        "jpeg": (_picture("JPEG", "green", (33, 21)), "image/jpeg"),
        "webp": (_picture("WEBP", "blue"), "image/webp"),
        "gif": (_picture("GIF", "white"), "image/gif"),
        "large": (_picture("BMP", "orange", (400, 300)), "image/bmp"),
        "liar": (_picture("PNG", "black"), "image/jpeg"),  # a client that declares another type
        "pdf": (b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF\n", "application/pdf"),
        "wav": (b"RIFF\x24\0\0\0WAVEfmt " + bytes(28), "audio/wav"),
        "text": ("Größe: 1 µm\n".encode(), "text/plain"),
        "one": (b"\0", "application/octet-stream"),
        **{
            f"shot{number}": (_picture("PNG", f"#{number * 4:02x}3366"), "image/png")
            for number in range(40)
        },
    }


@dataclass(frozen=True)
class Spell:
    """Writes attachments in one spelling. `origin` is the gateway's own, for URLs."""

    spelling: Spelling
    origin: str

    def data_url(self, name: str) -> str:
        """Return what stands where a data URL would."""
        data, media_type = blobs()[name]
        if self.spelling in ("inline", "pointer"):
            return f"data:{media_type};base64,{self._base64(data)}"
        return self._uri(name)

    def bare(self, name: str) -> str:
        """Return what stands where base64 alone would."""
        data, _ = blobs()[name]
        return self._base64(data) if self.spelling in ("inline", "pointer") else self._uri(name)

    def source(self, name: str) -> JsonObject:
        """Return Anthropic's source."""
        data, media_type = blobs()[name]
        if self.spelling in ("inline", "pointer"):
            return {"type": "base64", "media_type": media_type, "data": self._base64(data)}
        return {"type": "url", "url": self._uri(name)}

    def part(self, name: str, *, is_snake: bool = False, is_mixed: bool = False) -> JsonObject:
        """Return Gemini's part, its keys in camel case, in snake case, or outer and inner ones apart."""
        data, media_type = blobs()[name]
        type_key = "mime_type" if is_snake or is_mixed else "mimeType"
        if self.spelling in ("inline", "pointer"):
            inline = "inline_data" if is_snake else "inlineData"
            text = self._base64(data)
            if is_mixed:  # as the Python SDK writes it
                text = text.replace("+", "-").replace("/", "_")
            return {inline: {type_key: media_type, "data": text}}
        uri = "file_uri" if is_snake or is_mixed else "fileUri"
        uri_text = self._uri(name).partition("?type=")[0]  # the type stands beside it
        return {"file_data" if is_snake else "fileData": {uri: uri_text, type_key: media_type}}

    def item(self, name: str, **more: Json) -> JsonObject:
        """Return Dify's item, without its kind."""
        data, media_type = blobs()[name]
        named: JsonObject = {"base64_data": "", "url": self._uri(name).partition("?type=")[0]}
        if self.spelling in ("inline", "pointer"):
            named = {"base64_data": self._base64(data), "url": ""}
        kind = media_type.partition("/")[2]
        return {"format": kind, **named, "mime_type": media_type, "filename": "", **more}

    def _base64(self, data: bytes) -> str:
        if self.spelling == "pointer":
            data = str(Pointer(Digest.of(data), len(data))).encode()
        return base64.b64encode(data).decode()

    def _uri(self, name: str) -> str:
        """Name the bytes; with their type where it is not what they show."""
        data, media_type = blobs()[name]
        digest = Digest.of(data)
        if name in ("liar", "text"):
            return f"blob:{digest}?type={media_type}"
        return f"{self.origin}/v1/blobs/{digest}" if self.spelling == "url" else f"blob:{digest}"


# What clients put into requests beside attachments; every body of the corpus may have some of it.
SCHEMA: Json = {
    "type": "object",
    "properties": {"n": {"type": "number", "minimum": -1.5e-9, "default": None}},
    "required": [],
    "additionalProperties": False,
}
UNICODE = 'é 中文 😀 \u2028\u2029 \x7f \\ "quoted" </script> \t\r\n ＡＢＣ \u034f \u202ertl\u202c '
NUMBERS: Json = [
    *(0, -0.0, 1, 1.0, 1e2, 1e21, 1e-7, 0.1, 123456789012345678901234567890, -(2**63)),
    *(2**53 + 1, 1.7976931348623157e308, 5e-324, 3.141592653589793, True, False, None),
]
NESTED: Json = {"a": [{"b": [[[{"c": {"d": [None, {}, [], "", {"": 0}]}}]]]}]}
DEEP: Json = json.loads("[" * 150 + "]" * 150)
UNKNOWN: JsonObject = {
    "zz_unknown": NESTED,
    "metadata": {"k": "v", "unicode": UNICODE},
    "numbers": NUMBERS,
    "empty": {},
    "null": None,
}


def _chat() -> list[tuple[str, Callable[[Spell], Any]]]:
    def image(s: Spell, name: str, **more: Json) -> Json:
        return {"type": "image_url", "image_url": {"url": s.data_url(name), **more}}

    def ask(*parts: Json, **fields: Json) -> JsonObject:
        return {"model": "m", "messages": [{"role": "user", "content": parts}], **fields}

    text: Json = {"type": "text", "text": UNICODE}
    call: Json = {
        "id": "c1",
        "type": "function",
        "function": {"name": "f", "arguments": '{"a": "\\u00e9", "n": 1.50}'},
    }
    tool: Json = {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}
    return [
        ("text alone", lambda s: ask(text)),
        ("a string", lambda s: {"model": "m", "messages": [{"role": "user", "content": UNICODE}]}),
        ("one image", lambda s: ask(text, image(s, "png"))),
        (
            "detail before the url",
            lambda s: ask(
                {
                    "image_url": {"detail": "high", "url": s.data_url("jpeg"), "x": None},
                    "type": "image_url",
                }
            ),
        ),
        (
            "the url as a string",
            lambda s: ask({"type": "image_url", "image_url": s.data_url("gif")}),
        ),
        ("another declared type", lambda s: ask(image(s, "liar"))),
        ("forty images", lambda s: ask(*(image(s, f"shot{n}") for n in range(40)))),
        ("the same image thrice", lambda s: ask(*[image(s, "webp")] * 3, text)),
        ("a large image", lambda s: ask(image(s, "large"), stream=True)),
        (
            "audio",
            lambda s: ask(
                {"type": "input_audio", "input_audio": {"format": "wav", "data": s.bare("wav")}}
            ),
        ),
        (
            "a PDF",
            lambda s: ask(
                {"type": "file", "file": {"filename": "ü.pdf", "file_data": s.data_url("pdf")}}
            ),
        ),
        ("a text file", lambda s: ask({"type": "file", "file": {"file_data": s.data_url("text")}})),
        (
            "a provider's file beside ours",
            lambda s: ask({"type": "file", "file": {"file_id": "file-abc123"}}, image(s, "png")),
        ),
        (
            "tools and their results",
            lambda s: {
                "messages": [
                    {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
                    {"role": "user", "content": "Look"},
                    {"role": "assistant", "content": None, "tool_calls": [call]},
                    {"role": "tool", "tool_call_id": "c1", "content": [image(s, "png"), text]},
                ],
                "tools": [tool],
                "tool_choice": {"type": "function", "function": {"name": "f"}},
                "model": "m",
            },
        ),
        ("unknown fields, big numbers, null", lambda s: ask(image(s, "png"), **UNKNOWN)),
        (
            "unknown parts",
            lambda s: ask(
                {"type": "video_url", "video_url": {"url": "https://a.example/v"}},
                "bare",
                image(s, "png"),
            ),
        ),
        ("deeply nested", lambda s: ask(image(s, "one"), deep=DEEP)),
        (
            "many turns",
            lambda s: {
                "model": "m",
                "messages": [
                    {
                        "role": "user" if n % 2 == 0 else "assistant",
                        "content": [image(s, f"shot{n}")] if n % 2 == 0 else f"turn {n}",
                    }
                    for n in range(30)
                ],
            },
        ),
    ]


def _responses() -> list[tuple[str, Callable[[Spell], Any]]]:
    def image(s: Spell, name: str, **more: Json) -> Json:
        return {"type": "input_image", "image_url": s.data_url(name), **more}

    def ask(*parts: Json, **fields: Json) -> JsonObject:
        return {"model": "m", "input": [{"role": "user", "content": parts}], **fields}

    text: Json = {"type": "input_text", "text": UNICODE}
    return [
        ("a string", lambda s: {"model": "m", "input": UNICODE, **UNKNOWN}),
        ("text alone", lambda s: ask(text, instructions=UNICODE)),
        ("one image", lambda s: ask(text, image(s, "png", detail="original"))),
        ("a null id beside the image", lambda s: ask(image(s, "png", file_id=None))),
        ("another declared type", lambda s: ask(image(s, "liar"))),
        ("forty images", lambda s: ask(*(image(s, f"shot{n}") for n in range(40)), text)),
        ("a large image", lambda s: ask(image(s, "large"), stream=True, store=False)),
        (
            "a PDF",
            lambda s: ask(
                {"type": "input_file", "filename": "ü.pdf", "file_data": s.data_url("pdf")}
            ),
        ),
        (
            "audio",
            lambda s: ask(
                {"type": "input_audio", "input_audio": {"data": s.bare("wav"), "format": "wav"}}
            ),
        ),
        (
            "a provider's ids and URLs beside ours",
            lambda s: ask(
                {"type": "input_image", "file_id": "file-abc123"},
                {"type": "input_file", "file_url": "https://a.example/a.pdf"},
                image(s, "gif"),
            ),
        ),
        (
            "a function's output",
            lambda s: {
                "model": "m",
                "input": [
                    {
                        "type": "function_call",
                        "call_id": "c",
                        "name": "f",
                        "arguments": "{}",
                        "id": "fc_1",
                    },
                    {
                        "type": "function_call_output",
                        "call_id": "c",
                        "output": [text, image(s, "jpeg")],
                    },
                    {"type": "custom_tool_call_output", "call_id": "d", "output": UNICODE},
                ],
                "tools": [{"type": "function", "name": "f", "parameters": SCHEMA, "strict": True}],
            },
        ),
        (
            "a computer's screen",
            lambda s: {
                "model": "m",
                "input": [
                    {
                        "type": "computer_call_output",
                        "call_id": "c",
                        "output": {"type": "computer_screenshot", "image_url": s.data_url("png")},
                    },
                ],
                "truncation": "auto",
            },
        ),
        (
            "a generated image",
            lambda s: {
                "model": "m",
                "input": [
                    {
                        "type": "image_generation_call",
                        "id": "ig_1",
                        "status": "completed",
                        "result": s.bare("webp"),
                    },
                    {"type": "item_reference", "id": "msg_1"},
                    {"role": "user", "content": "Again"},
                ],
            },
        ),
        ("an earlier response", lambda s: ask(image(s, "png"), previous_response_id="resp_1")),
        (
            "a stored prompt",
            lambda s: {
                "model": "m",
                "prompt": {
                    "id": "pmpt_1",
                    "version": "2",
                    "variables": {"who": "me", "pic": image(s, "png")},
                },
            },
        ),
        (
            "an image tool's mask",
            lambda s: ask(
                text,
                tools=[
                    {
                        "type": "image_generation",
                        "input_image_mask": {"image_url": s.data_url("png")},
                    }
                ],
            ),
        ),
        ("reasoning and unknown items", _unknown_items),
        ("deeply nested", lambda s: ask(image(s, "one"), deep=DEEP)),
    ]


def _unknown_items(s: Spell) -> JsonObject:
    items: list[Json] = [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA=="},
        {"type": "of_the_future", "content": 5, "output": NUMBERS},
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_image", "image_url": s.data_url("png")}],
            "status": None,
        },
    ]
    return {"input": items, "model": "m", "include": ["reasoning.encrypted_content"], **UNKNOWN}


def _anthropic() -> list[tuple[str, Callable[[Spell], Any]]]:
    def image(s: Spell, name: str, **more: Json) -> Json:
        return {"type": "image", "source": s.source(name), **more}

    def ask(*blocks: Json, **fields: Json) -> JsonObject:
        message: Json = {"role": "user", "content": blocks}
        return {"model": "m", "max_tokens": 9, "messages": [message], **fields}

    text: Json = {"type": "text", "text": UNICODE}
    cached: Json = {"type": "ephemeral", "ttl": "1h"}
    system: Json = [{"type": "text", "text": UNICODE, "cache_control": cached}]
    return [
        (
            "a string",
            lambda s: {
                "model": "m",
                "max_tokens": 9,
                "messages": [{"role": "user", "content": UNICODE}],
            },
        ),
        ("text alone", lambda s: ask(text, system=system)),
        ("one image", lambda s: ask(image(s, "png"), text)),
        (
            "cached, and transformed",
            lambda s: ask(
                image(
                    s, "jpeg", cache_control=cached, transformations={"oversized_image": "downsize"}
                )
            ),
        ),
        ("the source first", lambda s: ask({"source": s.source("gif"), "type": "image"})),
        ("another declared type", lambda s: ask(image(s, "liar"))),
        ("forty images", lambda s: ask(*(image(s, f"shot{n}") for n in range(40)), text)),
        ("a large image", lambda s: ask(image(s, "large"), stream=True)),
        (
            "a PDF",
            lambda s: ask(
                {
                    "type": "document",
                    "title": "ü",
                    "context": None,
                    "citations": {"enabled": True},
                    "source": s.source("pdf"),
                }
            ),
        ),
        (
            "a document of text beside ours",
            lambda s: ask(
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": UNICODE},
                },
                image(s, "png"),
            ),
        ),
        (
            "a document of blocks",
            lambda s: ask(
                {
                    "type": "document",
                    "source": {"type": "content", "content": [text, image(s, "webp")]},
                }
            ),
        ),
        (
            "a tool's result",
            lambda s: {
                "model": "m",
                "max_tokens": 9,
                "messages": [
                    {"role": "user", "content": "Look"},
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                            {
                                "type": "tool_use",
                                "id": "t",
                                "name": "f",
                                "input": {
                                    "source": {"type": "url", "url": "https://a.example"},
                                    "n": 1.50,
                                },
                            },
                        ],
                    },
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "tool_result",
                                "tool_use_id": "t",
                                "is_error": False,
                                "content": [
                                    text,
                                    image(s, "png"),
                                    {"type": "document", "source": s.source("pdf")},
                                ],
                            }
                        ],
                    },
                ],
                "tools": [{"name": "f", "input_schema": SCHEMA}],
            },
        ),
        (
            "a provider's file beside ours",
            lambda s: ask(
                {"type": "image", "source": {"type": "file", "file_id": "file_011abc"}},
                {"type": "container_upload", "file_id": "file_011abc"},
                {"type": "image", "source": {"type": "url", "url": "https://a.example/a.png"}},
                image(s, "png"),
            ),
        ),
        (
            "search results",
            lambda s: ask(
                {
                    "type": "search_result",
                    "source": "https://a.example",
                    "title": "t",
                    "content": [text],
                },
                image(s, "png"),
            ),
        ),
        ("unknown fields, big numbers, null", lambda s: ask(image(s, "png"), **UNKNOWN)),
        (
            "unknown blocks",
            lambda s: ask(
                {"type": "of_the_future", "source": {"type": "new", "data": NUMBERS}},
                image(s, "png"),
            ),
        ),
        ("deeply nested", lambda s: ask(image(s, "png"), deep=DEEP)),
        (
            "many turns",
            lambda s: {
                "model": "m",
                "max_tokens": 9,
                "messages": [
                    {
                        "role": "user" if n % 2 == 0 else "assistant",
                        "content": [image(s, f"shot{n}")] if n % 2 == 0 else f"turn {n}",
                    }
                    for n in range(30)
                ],
            },
        ),
    ]


def _gemini() -> list[tuple[str, Callable[[Spell], Any]]]:
    def ask(*parts: Json, **fields: Json) -> JsonObject:
        return {"contents": [{"role": "user", "parts": parts}], **fields}

    text: Json = {"text": UNICODE}
    return [
        ("text alone", lambda s: ask(text, systemInstruction={"parts": [text]})),
        ("one image", lambda s: ask(text, s.part("png"))),
        ("snake case", lambda s: ask(s.part("png", is_snake=True), text)),
        ("camel case without, snake case within", lambda s: ask(s.part("png", is_mixed=True))),
        ("as the Python SDK writes", lambda s: ask(s.part("jpeg", is_mixed=True), text)),
        (
            "siblings",
            lambda s: ask(
                {
                    "thought": False,
                    **s.part("jpeg"),
                    "mediaResolution": {"level": "HIGH"},
                    "thoughtSignature": "c2ln",
                }
            ),
        ),
        ("another declared type", lambda s: ask(s.part("liar"))),
        ("forty images", lambda s: ask(*(s.part(f"shot{n}") for n in range(40)), text)),
        ("a large image", lambda s: ask(s.part("large"))),
        ("audio, PDF and text", lambda s: ask(s.part("wav"), s.part("pdf"), s.part("text"))),
        (
            "a function's answer",
            lambda s: {
                "contents": [
                    {"role": "model", "parts": [{"functionCall": {"name": "f", "args": NESTED}}]},
                    {
                        "role": "user",
                        "parts": [
                            {
                                "functionResponse": {
                                    "name": "f",
                                    "response": {"numbers": NUMBERS},
                                    "parts": [s.part("webp")],
                                }
                            }
                        ],
                    },
                ],
                "tools": [{"functionDeclarations": [{"name": "f", "parameters": SCHEMA}]}],
            },
        ),
        ("one object for a list", lambda s: {"contents": {"parts": s.part("png")}}),
        (
            "a provider's file beside ours",
            lambda s: ask(
                {"fileData": {"fileUri": "https://a.example/v1beta/files/abc", "mimeType": "a/b"}},
                {"fileData": {"fileUri": "gs://bucket/a.png"}},
                s.part("gif"),
            ),
        ),
        (
            "the system instruction",
            lambda s: ask(text, system_instruction={"role": "user", "parts": [s.part("png")]}),
        ),
        ("unknown fields, big numbers, null", lambda s: ask(s.part("png"), **UNKNOWN)),
        ("unknown parts", lambda s: ask({"ofTheFuture": NUMBERS}, s.part("png"))),
        (
            "settings",
            lambda s: ask(
                s.part("png"),
                generationConfig={
                    "temperature": 0.10,
                    "maxOutputTokens": 8192,
                    "responseSchema": SCHEMA,
                    "stopSequences": [],
                },
                safetySettings=None,
            ),
        ),
        ("deeply nested", lambda s: ask(s.part("one"), deep=DEEP)),
        (
            "many turns",
            lambda s: {
                "contents": [
                    {
                        "role": "user" if n % 2 == 0 else "model",
                        "parts": [s.part(f"shot{n}") if n % 2 == 0 else {"text": f"turn {n}"}],
                    }
                    for n in range(30)
                ]
            },
        ),
    ]


def _dify() -> list[tuple[str, Callable[[Spell], Any]]]:
    def image(s: Spell, name: str, **more: Json) -> Json:
        return {"type": "image", **s.item(name), "detail": "low", **more}

    def asked(messages: Json, **fields: Json) -> JsonObject:
        data: JsonObject = {
            "provider": "openai",
            "model_type": "llm",
            "model": "m",
            "credentials": {"api_key": "k", "unicode": UNICODE},
            "prompt_messages": messages,
            "model_parameters": {"temperature": 0.10},
            "tools": None,
            "stop": None,
            "stream": True,
        }
        return {"user_id": "u", "data": {**data, **fields}}

    def user(*parts: Json) -> JsonObject:
        return {"role": "user", "name": None, "content": [*parts]}

    def ask(*parts: Json, **fields: Json) -> JsonObject:
        return asked([user(*parts)], **fields)

    text: Json = {"type": "text", "data": UNICODE}
    call: Json = {
        "id": "c1",
        "type": "function",
        "function": {"name": "f", "arguments": '{"a": "\\u00e9", "n": 1.50}'},
    }
    tool: Json = {"name": "f", "description": UNICODE, "parameters": SCHEMA}
    system: JsonObject = {"role": "system", "content": UNICODE, "name": None}
    return [
        ("text alone", lambda s: ask(text)),
        ("a string", lambda s: asked([{"role": "user", "content": UNICODE}], **UNKNOWN)),
        ("one image", lambda s: ask(text, image(s, "png"))),
        ("another declared type", lambda s: ask(image(s, "liar"))),
        ("forty images", lambda s: ask(*(image(s, f"shot{n}") for n in range(40)), text)),
        ("the same image thrice", lambda s: ask(*[image(s, "webp")] * 3, text)),
        ("a large image", lambda s: ask(image(s, "large"))),
        (
            "documents, audio, video",
            lambda s: ask(
                {"type": "document", **s.item("pdf", filename="ü.pdf")},
                {"type": "document", **s.item("text")},
                {"type": "audio", **s.item("wav")},
                {"type": "video", **s.item("one")},
            ),
        ),
        (
            "another order, fields of others, null",
            lambda s: ask(
                {
                    "opaque_body": NESTED,
                    **dict(reversed(s.item("jpeg", filename=None).items())),
                    "type": "image",
                    "zz": NUMBERS,
                }
            ),
        ),
        (
            "a url of null",
            lambda s: ask(
                {
                    "type": "image",
                    **s.item("gif"),
                    "url": None,
                    "base64_data": s.bare("gif"),
                },
            ),
        ),
        (
            "without a url",
            lambda s: ask(
                {
                    "type": "image",
                    "format": "png",
                    "base64_data": s.bare("png"),
                    "mime_type": "image/png",
                }
            ),
        ),
        (
            "URLs of others beside ours",
            lambda s: ask(
                {"type": "image", "format": "png", "url": "https://a.example/a.png?sign=x"},
                {"type": "video", "url": "file-abc123", "base64_data": "", "mime_type": "a/b"},
                image(s, "png"),
            ),
        ),
        (
            "tools and their results",
            lambda s: asked(
                [
                    system,
                    {"role": "developer", "content": "Be brief.", "name": None},
                    user(text, image(s, "webp")),
                    {"role": "assistant", "content": None, "name": None, "tool_calls": [call]},
                    {
                        "role": "tool",
                        "content": [image(s, "png"), text],
                        "name": None,
                        "tool_call_id": "c1",
                    },
                    {"role": "assistant", "content": [text], "tool_calls": []},
                ],
                tools=[tool],
                stop=["\n", UNICODE],
            ),
        ),
        ("unknown fields, big numbers", lambda s: {**UNKNOWN, **ask(image(s, "png"), **UNKNOWN)}),
        ("unknown kinds", lambda s: ask({"type": "new", "data": NUMBERS}, {}, image(s, "png"))),
        (
            "keys of the message list elsewhere",
            lambda s: {
                "prompt_messages": NUMBERS,
                **ask(image(s, "png"), data={"prompt_messages": NESTED}),
            },
        ),
        ("deeply nested", lambda s: {"deep": DEEP, **ask(image(s, "one"), deep=DEEP)}),
        (
            "many turns",
            lambda s: asked(
                [
                    user(image(s, f"shot{n}"))
                    if n % 2 == 0
                    else {"role": "assistant", "content": f"turn {n}", "name": None}
                    for n in range(30)
                ]
            ),
        ),
    ]


def _counted(s: Spell) -> JsonObject:
    request: JsonObject = {"model": "models/m", "contents": [{"parts": [s.part("png")]}]}
    return {"generateContentRequest": request}


def _rows() -> Sequence[Row]:
    tables = (
        ("openai.chat", "/v1/chat/completions", _chat()),
        ("openai.responses", "/v1/responses", _responses()),
        ("anthropic.messages", "/v1/messages", _anthropic()),
        ("gemini.generate", "/v1beta/models/m:generateContent", _gemini()),
        ("dify.llm", "/plugin/tenant/dispatch/llm/invoke", _dify()),
        ("openai.responses", "/v1/responses/input_tokens", _responses()[2:3]),
        ("anthropic.messages", "/v1/messages/count_tokens", _anthropic()[2:3]),
        ("gemini.generate", "/v1/models/m:countTokens", [("a request counted", _counted)]),
        ("dify.llm", "/v2/invoke/dispatch/llm/num_tokens", _dify()[2:3]),
        ("dify.llm", "/plugin/tenant/dispatch/model/polling/start", _dify()[2:3]),
    )
    return [
        Row(dialect, path, about, body) for dialect, path, table in tables for about, body in table
    ]


ROWS = _rows()
