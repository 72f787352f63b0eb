"""What stands for a blob in each dialect's slots, and that the slots can be put into again."""

import json
from collections.abc import Callable

import pytest

from coatcheck.daemon.body import Base64Of
from coatcheck.daemon.form import AsFile, AsUrl, AsUuid, Form
from coatcheck.daemon.part_snapshot import PartSnapshot
from coatcheck.daemon.source import Resolved
from coatcheck.daemon.splice import Filling, splice_into
from coatcheck.protocol import (
    Digest,
    FileSlot,
    Json,
    JsonObject,
    LinkSlot,
    UuidSlot,
    decode_json,
    dialect,
    encode_json,
    messages_in,
    shorten_json,
)

BLOB = Resolved(Digest.of(b"x"), 1, "image/png")
REF = f"blob:{BLOB.digest}"
PNG = "data:image/png;base64,AAAA"
MARK: JsonObject = {"cache_control": {"type": "ephemeral"}}
FILE = AsFile("file-1")
URL = AsUrl("https://store.example/b")
NAMED, NAME_ALONE = AsUuid("u1", has_bytes=True), AsUuid("u1", has_bytes=False)


def messages(name: str, part: Json) -> JsonObject:
    """Return a request with one part."""
    content: Json = [{"type": "text", "text": "Look"}, part]
    match name:
        case "openai.responses":
            return {"model": "m", "input": [{"role": "user", "content": content}]}
        case "dify.llm":
            asked: Json = [{"role": "user", "content": content}]
            return {"user_id": "u", "data": {"model": "m", "prompt_messages": asked}}
        case "gemini.generate":
            return {"contents": [{"role": "user", "parts": [{"text": "Look"}, part]}]}
        case _:
            return {"model": "m", "messages": [{"role": "user", "content": content}]}


def written(name: str, part: Json, form: Form | None) -> tuple[Json, Json]:
    """Return the part as it goes upstream, and as it goes when it is put into again, with bytes."""
    short, spoken = shorten_json(encode_json(messages(name, part))), dialect(name)
    body = decode_json(short, keeps_taken=True)
    assert isinstance(body, dict)
    (slot,) = spoken.walk(messages_in(spoken, body))

    def write(form: Form | None) -> Json:
        filling = Filling(slot, BLOB, "image/png", form=form)
        before = PartSnapshot(body, [filling])
        segments = splice_into(short, body, [filling], b"n" * 16)
        before.restore()
        text = b"".join(b"AAAA" if isinstance(one, Base64Of) else one for one in segments)
        found: JsonObject = json.loads(text)
        (message,) = spoken.list_messages(messages_in(spoken, found)) or []
        assert isinstance(message, dict)
        parts = message.get("content") or message.get("parts")
        assert isinstance(parts, list)
        return parts[1]  # type: ignore[no-any-return]

    return write(form), write(None)


CHAT: JsonObject = {"type": "image_url", "image_url": {"url": REF, "detail": "low"}}
IMAGE: JsonObject = {"type": "input_image", "image_url": REF, "detail": "low"}
INPUT_FILE: JsonObject = {"type": "input_file", "filename": "a.pdf", "file_data": REF}
CLAUDE: JsonObject = {"type": "image", "source": {"type": "url", "url": REF}, **MARK}
CAMEL: JsonObject = {"fileData": {"fileUri": REF, "mimeType": "image/png"}}
SNAKE: JsonObject = {"file_data": {"file_uri": REF}}
ITEM: JsonObject = {
    "type": "image",
    "format": "png",
    "base64_data": "",
    "url": REF,
    "mime_type": "image/png",
    "detail": "low",
}
BARE: JsonObject = {"base64_data": REF, "mime_type": "image/png", "type": "document"}
URI = AsFile("https://g.example/v1beta/files/a")


@pytest.mark.parametrize(
    ("name", "part", "form", "expected"),
    [
        ("openai.chat", CHAT, URL, {**CHAT, "image_url": {"url": URL.url, "detail": "low"}}),
        (
            "openai.chat",
            CHAT,
            NAMED,
            {**CHAT, "image_url": {"url": PNG, "detail": "low"}, "uuid": "u1"},
        ),
        ("openai.chat", CHAT, NAME_ALONE, {**CHAT, "image_url": None, "uuid": "u1"}),
        ("openai.chat", {"image_url": REF}, NAME_ALONE, {"image_url": None, "uuid": "u1"}),
        ("openai.chat", {"image_url": REF}, NAMED, {"image_url": PNG, "uuid": "u1"}),
        (
            "openai.chat",
            {"image_url": {"url": PNG}},
            NAMED,
            {"image_url": {"url": PNG}, "uuid": "u1"},
        ),
        ("openai.chat", {"image_url": {"url": PNG}}, NAME_ALONE, {"image_url": None, "uuid": "u1"}),
        (
            "openai.chat",
            {"type": "file", "file": {"file_data": REF, "filename": "a.pdf"}},
            FILE,
            {"type": "file", "file": {"file_id": "file-1"}},
        ),
        (
            "openai.responses",
            IMAGE,
            FILE,
            {"type": "input_image", "file_id": "file-1", "detail": "low"},
        ),
        ("openai.responses", IMAGE, URL, {**IMAGE, "image_url": URL.url}),
        ("openai.responses", INPUT_FILE, FILE, {"type": "input_file", "file_id": "file-1"}),
        ("openai.responses", INPUT_FILE, URL, {"type": "input_file", "file_url": URL.url}),
        (
            "anthropic.messages",
            CLAUDE,
            FILE,
            {"type": "image", "source": {"type": "file", "file_id": "file-1"}, **MARK},
        ),
        (
            "anthropic.messages",
            CLAUDE,
            URL,
            {"type": "image", "source": {"type": "url", "url": URL.url}, **MARK},
        ),
        (
            "gemini.generate",
            CAMEL,
            URI,
            {"fileData": {"fileUri": URI.file, "mimeType": "image/png"}},
        ),
        (
            "gemini.generate",
            SNAKE,
            URI,
            {"file_data": {"file_uri": URI.file, "mime_type": "image/png"}},
        ),
        (
            "gemini.generate",
            {"inlineData": {"mime_type": "image/png", "data": "AAAA"}},
            URL,
            {"fileData": {"file_uri": URL.url, "mime_type": "image/png"}},
        ),
        ("dify.llm", ITEM, URL, {**ITEM, "url": URL.url}),
        ("dify.llm", BARE, URL, {**BARE, "base64_data": "", "url": URL.url}),
        (
            "dify.llm",
            {**ITEM, "base64_data": "AAAA", "url": ""},
            AsUrl(REF),
            {**ITEM, "base64_data": "", "url": REF},
        ),
    ],
)
def test_a_slot_takes_what_stands_for_its_blob(
    name: str, part: JsonObject, form: Form, expected: Json
) -> None:
    found, _ = written(name, part, form)
    assert found == expected
    assert list(found) == list(expected) or "uuid" in expected  # type: ignore[arg-type, operator]


@pytest.mark.parametrize(
    ("name", "part", "form"),
    [
        ("openai.chat", CHAT, NAME_ALONE),
        ("openai.chat", CHAT, URL),
        ("openai.chat", {"type": "file", "file": {"file_data": REF, "filename": "a"}}, FILE),
        ("openai.responses", INPUT_FILE, FILE),
        ("openai.responses", INPUT_FILE, URL),
        ("openai.responses", IMAGE, FILE),
        ("anthropic.messages", CLAUDE, FILE),
        ("gemini.generate", CAMEL, URI),
        ("gemini.generate", SNAKE, URI),
        ("dify.llm", ITEM, URL),
        ("dify.llm", BARE, URL),
    ],
)
def test_a_slot_can_be_put_into_again(name: str, part: JsonObject, form: Form) -> None:
    _, again = written(name, part, form)
    _, first = written(name, part, None)
    assert again == first
    assert json.dumps(again) == json.dumps(first)


@pytest.mark.parametrize(
    ("name", "part", "abilities"),
    [
        ("openai.chat", CHAT, {LinkSlot, UuidSlot}),
        ("openai.chat", {"type": "input_audio", "input_audio": {"data": REF}}, set[type]()),
        ("openai.chat", {"type": "file", "file": {"file_data": REF}}, {FileSlot}),
        ("openai.responses", IMAGE, {FileSlot, LinkSlot}),
        ("openai.responses", INPUT_FILE, {FileSlot, LinkSlot}),
        ("anthropic.messages", CLAUDE, {FileSlot, LinkSlot}),
        ("gemini.generate", CAMEL, {FileSlot, LinkSlot}),
        ("dify.llm", ITEM, {LinkSlot}),
        ("dify.llm", BARE, {LinkSlot}),
    ],
)
def test_which_slots_take_what(name: str, part: JsonObject, abilities: set[type]) -> None:
    spoken = dialect(name)
    (slot,) = spoken.walk(messages_in(spoken, messages(name, part)))
    able: Callable[[type], bool] = lambda ability: isinstance(slot, ability)
    assert set(filter(able, (FileSlot, LinkSlot, UuidSlot))) == abilities
