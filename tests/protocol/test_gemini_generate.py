"""Where gemini.generate's attachments stand, in which casing, and what takes their place."""

import base64
from typing import Any

import pytest

from coatcheck.protocol import (
    Digest,
    FoundFileId,
    FoundInline,
    FoundPointer,
    FoundRef,
    Json,
    MalformedMessageError,
    Pointer,
    dialect,
    dotted,
    ref_form,
)

GEMINI = dialect("gemini.generate")
DIGEST = Digest.of(b"x")
REF = f"blob:{DIGEST}"
ID = "file-cc" + "a" * 24
GIF = "R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs="


def user(*parts: Json) -> list[Json]:
    return [{"role": "user", "parts": list(parts)}]


def test_every_kind_of_attachment_is_found_in_order() -> None:
    pointer = base64.b64encode(str(Pointer(DIGEST, 1)).encode()).decode()
    messages = user(
        {"text": REF},
        {"inlineData": {"mimeType": "image/gif", "data": GIF}},
        {"inline_data": {"mime_type": "image/gif", "data": pointer}},
        {"fileData": {"file_uri": REF, "mime_type": "image/gif"}},
        {"file_data": {"fileUri": f"files/{ID}"}},
        {"fileData": {"fileUri": f"https://any.example/v1beta/files/{ID}"}},
        {"fileData": {"fileUri": ID}},
        {"fileData": {"fileUri": "files/theirs"}},
        {"fileData": {"fileUri": f"https://any.example/other/files/{ID}"}},
        {"fileData": {"fileUri": "https://youtu.be/x"}},
        {
            "functionResponse": {
                "name": "f",
                "response": {"parts": REF},
                "parts": [{"inlineData": {"mimeType": "image/gif", "data": GIF}}],
            }
        },
        {"functionCall": {"args": {"fileData": {"fileUri": REF}}}},
        {"of_the_future": {"fileUri": REF}},
    )
    assert [(dotted(slot.path), type(slot.found)) for slot in GEMINI.walk(messages)] == [
        ("contents.0.parts.1.inlineData", FoundInline),
        ("contents.0.parts.2.inline_data", FoundPointer),
        ("contents.0.parts.3.fileData", FoundRef),
        ("contents.0.parts.4.file_data", FoundFileId),
        ("contents.0.parts.5.fileData", FoundFileId),
        ("contents.0.parts.6.fileData", FoundFileId),
        ("contents.0.parts.10.functionResponse.parts.0.inlineData", FoundInline),
    ]


def test_one_object_stands_for_a_list() -> None:
    content: Json = {"role": "user", "parts": {"fileData": {"fileUri": REF}}}
    (slot,) = GEMINI.walk(content)
    assert dotted(slot.path) == "contents.0.parts.0.fileData"
    assert GEMINI.list_messages(content) == [content]


@pytest.mark.parametrize(
    ("messages", "path"),
    [
        ("text", "contents"),
        ([1], "contents.0"),
        ([{"parts": 1}], "contents.0.parts"),
        (user(1), "contents.0.parts.0"),
        (user({"inlineData": 1}), "contents.0.parts.0.inlineData"),
        (user({"inlineData": {"data": 1}}), "contents.0.parts.0.inlineData.data"),
        (user({"inlineData": {"mimeType": 1}}), "contents.0.parts.0.inlineData.mimeType"),
        (user({"file_data": {"file_uri": 1}}), "contents.0.parts.0.file_data.file_uri"),
        (user({"fileData": {"fileUri": "blob:sha256:x"}}), "contents.0.parts.0.fileData"),
    ],
)
def test_wrong_types_are_named_by_path(messages: Json, path: str) -> None:
    with pytest.raises(MalformedMessageError) as caught:
        GEMINI.walk(messages)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("part", "hydrated"),
    [
        (
            {"fileData": {"fileUri": REF, "mimeType": "a/B"}, "z": 1},
            {"inlineData": {"mimeType": "a/B", "data": "AAAA"}, "z": 1},
        ),
        (
            {"fileData": {"file_uri": REF, "mime_type": "a/b"}},
            {"inlineData": {"mime_type": "a/b", "data": "AAAA"}},
        ),
        ({"file_data": {"file_uri": REF}}, {"inline_data": {"mime_type": "t/t", "data": "AAAA"}}),
        (
            {"fileData": {"fileUri": f"files/{ID}", "displayName": "n"}},
            {"inlineData": {"mimeType": "t/t", "data": "AAAA", "displayName": "n"}},
        ),
        (
            {"inlineData": {"data": REF, "mimeType": "a/b"}},
            {"inlineData": {"mimeType": "a/b", "data": "AAAA"}},
        ),
    ],
)
def test_bytes_keep_the_casing_and_the_declared_type(part: Json, hydrated: Json) -> None:
    messages = user(part)
    (slot,) = GEMINI.walk(messages)
    slot.put_inline("t/t", "AAAA")
    assert messages == user(hydrated)


def test_a_ref_has_no_type_even_where_content_differs() -> None:
    short = ref_form(GEMINI, user({"inlineData": {"mimeType": "image/png", "data": GIF}})).messages
    digest = Digest.of(base64.b64decode(GIF))
    assert short == user({"fileData": {"fileUri": f"blob:{digest}", "mimeType": "image/png"}})


def test_system_instruction_and_counted_request_are_found_beside_the_messages() -> None:
    parts: Any = [{"fileData": {"fileUri": REF}}]
    body: Any = {
        "system_instruction": {"parts": parts},
        "generateContentRequest": {
            "contents": [{"parts": parts}],
            "systemInstruction": {"parts": parts},
        },
    }
    assert [dotted(slot.path) for slot in GEMINI.walk_beside(body)] == [
        "system_instruction.parts.0.fileData",
        "generateContentRequest.contents.0.parts.0.fileData",
        "generateContentRequest.systemInstruction.parts.0.fileData",
    ]
    assert GEMINI.walk_beside({"systemInstruction": "text"}) == []
