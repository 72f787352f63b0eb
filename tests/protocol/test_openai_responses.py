"""Where openai.responses' attachments stand, and what takes their place."""

from typing import Any

import pytest

from coatcheck.protocol import (
    Digest,
    FoundFileId,
    FoundInline,
    FoundRef,
    Json,
    MalformedMessageError,
    dialect,
    dotted,
    ref_form,
)

RESPONSES = dialect("openai.responses")
REF = f"blob:{Digest.of(b'x')}"
OURS = "file-cc" + "a" * 24


def user(*parts: Json) -> list[Json]:
    return [{"role": "user", "content": list(parts)}]


def found(messages: Json) -> list[tuple[str, type]]:
    return [(dotted(slot.path), type(slot.found)) for slot in RESPONSES.walk(messages, {"here:1"})]


def test_every_kind_of_attachment_is_found_in_order() -> None:
    messages: list[Json] = [
        *user(
            {"type": "input_text", "text": REF},
            {"type": "input_image", "image_url": REF},
            {"type": "input_image", "image_url": None, "file_id": OURS},
            {"type": "input_image", "file_id": "file-theirs"},
            {"type": "input_file", "file_data": "data:application/pdf;base64,AAAA"},
            {"type": "input_file", "file_url": f"http://here:1/v1/blobs/{Digest.of(b'x')}"},
            {"type": "input_file", "file_url": "data:application/pdf;base64,AAAA"},
            {"type": "input_file", "file_url": "https://there/a.pdf"},
            {"type": "input_file", "file_id": OURS},
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        ),
        {"type": "function_call_output", "output": [{"type": "input_image", "image_url": REF}]},
        {"type": "function_call_output", "output": REF},
        {
            "type": "computer_call_output",
            "output": {"type": "computer_screenshot", "file_id": OURS},
        },
        {"type": "image_generation_call", "result": "AAAA"},
        {"type": "code_interpreter_call", "outputs": [{"type": "image", "url": REF}]},
        {"type": "item_reference", "id": OURS},
        {"type": "of_the_future", "content": 1, "output": [2], "result": REF},
    ]
    assert found(messages) == [
        ("input.0.content.1.image_url", FoundRef),
        ("input.0.content.2.file_id", FoundFileId),
        ("input.0.content.4.file_data", FoundInline),
        ("input.0.content.5.file_url", FoundRef),
        ("input.0.content.8.file_id", FoundFileId),
        ("input.0.content.9.input_audio", FoundInline),
        ("input.1.output.0.image_url", FoundRef),
        ("input.3.output.file_id", FoundFileId),
        ("input.4.result", FoundInline),
        ("input.5.outputs.0.url", FoundRef),
    ]


@pytest.mark.parametrize("messages", [None, "", "text", f"a {REF}"])
def test_a_string_or_nothing_has_no_attachments(messages: Json) -> None:
    assert RESPONSES.walk(messages) == []


def test_a_string_counts_as_one_user_message() -> None:
    assert RESPONSES.list_messages("Hello") == [{"role": "user", "content": "Hello"}]
    assert RESPONSES.list_messages(None) is None


@pytest.mark.parametrize(
    ("messages", "path"),
    [
        (5, "input"),
        ([1], "input.0"),
        ([{"content": 1}], "input.0.content"),
        (user(1), "input.0.content.0"),
        (user({"image_url": {"url": "x"}}), "input.0.content.0.image_url"),
        (user({"file_data": 1}), "input.0.content.0.file_data"),
        (user({"file_url": []}), "input.0.content.0.file_url"),
        (user({"file_id": {}}), "input.0.content.0.file_id"),
        (user({"input_audio": 1}), "input.0.content.0.input_audio"),
        (user({"image_url": "blob:sha256:x"}), "input.0.content.0.image_url"),
        ([{"type": "function_call_output", "output": 3}], "input.0.output"),
        ([{"type": "image_generation_call", "result": 3}], "input.0.result"),
    ],
)
def test_wrong_types_are_named_by_path(messages: Json, path: str) -> None:
    with pytest.raises(MalformedMessageError) as caught:
        RESPONSES.walk(messages)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("part", "hydrated"),
    [
        (
            {"a": 1, "type": "input_image", "file_id": OURS, "image_url": None, "z": 2},
            {"a": 1, "type": "input_image", "image_url": "data:t/t;base64,AAAA", "z": 2},
        ),
        (
            {"type": "input_file", "file_url": REF, "filename": "f"},
            {"type": "input_file", "file_data": "data:t/t;base64,AAAA", "filename": "f"},
        ),
        (
            {"type": "input_file", "file_id": OURS},
            {"type": "input_file", "file_data": "data:t/t;base64,AAAA"},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": REF, "format": "mp3"}},
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
        ),
    ],
)
def test_bytes_stand_where_the_provider_takes_them(part: Json, hydrated: Json) -> None:
    messages = user(part)
    (slot,) = RESPONSES.walk(messages)
    slot.put_inline("t/t", "AAAA")
    assert messages == user(hydrated)


def test_a_generated_image_is_bare_base64() -> None:
    messages: list[Json] = [{"type": "image_generation_call", "result": "AAAA"}]
    short = ref_form(RESPONSES, messages).messages
    assert short == [{"type": "image_generation_call", "result": f"blob:{Digest.of(bytes(3))}"}]
    (slot,) = RESPONSES.walk(short)
    slot.put_inline("image/png", "AAAA")
    assert short == messages


def test_variables_of_a_prompt_and_masks_are_found_beside_the_messages() -> None:
    body: Any = {
        "prompt": {"id": "p", "variables": {"text": REF, "pic": {"image_url": REF}}},
        "tools": [{"type": "image_generation", "input_image_mask": {"file_id": OURS}}, 1],
    }
    assert [(dotted(slot.path), type(slot.found)) for slot in RESPONSES.walk_beside(body)] == [
        ("prompt.variables.pic.image_url", FoundRef),
        ("tools.0.input_image_mask.file_id", FoundFileId),
    ]
    assert RESPONSES.walk_beside({"prompt": 1, "tools": {"a": 1}}) == []
