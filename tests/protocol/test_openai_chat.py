"""Where openai.chat's attachments stand, and what is refused by path."""

import base64

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
    Problem,
    Ref,
    dialect,
    dotted,
    error_event,
)

CHAT = dialect("openai.chat")
DIGEST = Digest.of(b"x")


def user(*parts: Json) -> list[Json]:
    return [{"role": "user", "content": list(parts)}]


def image(url: Json) -> Json:
    return {"type": "image_url", "image_url": {"url": url}}


def test_every_kind_of_attachment_is_found_in_order() -> None:
    pointer = base64.b64encode(str(Pointer(DIGEST, 1)).encode()).decode()
    messages = user(
        image(f"blob:{DIGEST}"),
        "a bare string",
        {"type": "image_url", "image_url": f"blob:{DIGEST}?type=image/png"},
        image(f"data:image/png;base64,{pointer}"),
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-cc" + "a" * 24}},
        {"type": "file", "file": {"file_id": "file-provider"}},
        image(f"http://here:1/v1/blobs/{DIGEST}"),
        image(f"http://there:1/v1/blobs/{DIGEST}"),
        {"type": "image_url", "image_url": None},
        {"type": "image_url", "image_url": {"file_id": "other"}},
        {"type": "unheard_of", "thing": [1]},
        {"type": "video_url", "video_url": {"url": f"blob:{DIGEST}"}},
        {"type": "audio_url", "audio_url": {"url": "data:audio/wav;base64,AAAA"}},
    )
    found = [(dotted(slot.path), type(slot.found)) for slot in CHAT.walk(messages, {"here:1"})]
    assert found == [
        ("messages.0.content.0.image_url", FoundRef),
        ("messages.0.content.2.image_url", FoundRef),
        ("messages.0.content.3.image_url", FoundPointer),
        ("messages.0.content.4.input_audio", FoundInline),
        ("messages.0.content.5.file", FoundFileId),
        ("messages.0.content.7.image_url", FoundRef),
        ("messages.0.content.12.video_url", FoundRef),
        ("messages.0.content.13.audio_url", FoundInline),
    ]


@pytest.mark.parametrize(
    ("messages", "path", "code"),
    [
        ({}, "messages", "message_malformed"),
        ([1], "messages.0", "message_malformed"),
        ([{"content": 1}], "messages.0.content", "message_malformed"),
        (user(1), "messages.0.content.0", "message_malformed"),
        (user("a", None), "messages.0.content.1", "message_malformed"),
        (user({"image_url": 5}), "messages.0.content.0.image_url", "message_malformed"),
        (user(image(7)), "messages.0.content.0.image_url.url", "message_malformed"),
        (user({"input_audio": "x"}), "messages.0.content.0.input_audio", "message_malformed"),
        (
            user({"input_audio": {"data": 1}}),
            "messages.0.content.0.input_audio.data",
            "message_malformed",
        ),
        (
            user({"file": {"file_data": []}}),
            "messages.0.content.0.file.file_data",
            "message_malformed",
        ),
        (user(image("blob:sha256:abc")), "messages.0.content.0.image_url", "ref_invalid"),
        (user(image(f" blob:{DIGEST}")), "messages.0.content.0.image_url", "ref_invalid"),
        (user(image(f"BLOB:{DIGEST}")), "messages.0.content.0.image_url", "ref_invalid"),
        (
            user(image("http://me@here:1/v1/blobs/x")),
            "messages.0.content.0.image_url",
            "ref_invalid",
        ),
        (
            user(image("http://here:1/v1/blobs/x")),
            "messages.0.content.0.image_url",
            "ref_invalid",
        ),
        (
            user(
                image(
                    "data:image/png;base64,"
                    + base64.b64encode(b"version coatcheck-pointer/1\nx").decode()
                )
            ),
            "messages.0.content.0.image_url",
            "pointer_invalid",
        ),
    ],
)
def test_wrong_types_are_named_by_path(messages: Json, path: str, code: str) -> None:
    with pytest.raises(MalformedMessageError) as caught:
        CHAT.walk(messages, {"here:1"})
    assert (caught.value.path, caught.value.code) == (path, code)


@pytest.mark.parametrize("size", [257, 258, 261, 262, 263, 300, 1000, 100_000])
def test_a_pointer_over_its_length_is_refused(size: int) -> None:
    data = f"version coatcheck-pointer/1\ndigest {DIGEST}\nsize 1\n".encode()
    url = "data:image/png;base64," + base64.b64encode(data.ljust(size, b"x")).decode()
    with pytest.raises(MalformedMessageError) as caught:
        CHAT.walk(user(image(url)))
    assert caught.value.code == "pointer_invalid"


@pytest.mark.parametrize("text", ["QR==", "QQ=", "QUJ=", "QUJD\n", "QU JD", "QUJD=", "", "QQ-_"])
def test_base64_that_could_not_be_written_back_is_not_strict(text: str) -> None:
    assert FoundInline(text, 0, None).decode() is None


@pytest.mark.parametrize("data", [b"A", b"AB", b"ABC", b"ABCD"])
def test_strict_base64_is_decoded(data: bytes) -> None:
    assert FoundInline("x" + base64.b64encode(data).decode(), 1, None).decode() == data


def test_our_file_id_beside_file_data_is_found_too() -> None:
    file: Json = {"file_data": f"blob:{DIGEST}", "file_id": "file-cc" + "a" * 24}
    kinds = [type(slot.found) for slot in CHAT.walk(user({"type": "file", "file": file}))]
    assert kinds == [FoundRef, FoundFileId]


def test_a_file_id_gives_way_to_bytes_in_its_place() -> None:
    messages = user({"type": "file", "file": {"a": 1, "file_id": "file-cc" + "a" * 24, "z": 2}})
    (slot,) = CHAT.walk(messages)
    slot.put_inline("application/pdf", "AAAA")
    assert messages == user(
        {"type": "file", "file": {"a": 1, "file_data": "data:application/pdf;base64,AAAA", "z": 2}}
    )


def test_what_a_file_says_beside_a_parts_file_id_stays() -> None:
    file: Json = {"filename": "a.pdf"}
    messages = user({"type": "file", "file_id": "file-cc" + "a" * 24, "file": file})
    (slot,) = CHAT.walk(messages)
    slot.put_inline("application/pdf", "AAAA")
    data_url = "data:application/pdf;base64,AAAA"
    assert messages == user({"type": "file", "file": {"filename": "a.pdf", "file_data": data_url}})


def test_audio_is_bare_base64_and_its_ref_has_no_type() -> None:
    messages = user({"input_audio": {"data": "AAAA", "format": "wav"}})
    (slot,) = CHAT.walk(messages)
    slot.put_ref(Ref(DIGEST, "audio/wav"))
    assert messages == user({"input_audio": {"data": f"blob:{DIGEST}", "format": "wav"}})
    slot.put_inline("audio/wav", "BBBB")
    assert messages == user({"input_audio": {"data": "BBBB", "format": "wav"}})


def test_errors_stand_inside_the_error_object() -> None:
    problem = Problem(404, "blob_not_found", "Missing", "gone", {"path": "p", "missing": []})
    body: Json = {
        "error": {
            "message": "gone",
            "type": "invalid_request_error",
            "param": "p",
            "code": "blob_not_found",
            "missing": [],
        }
    }
    assert CHAT.provider.error(problem) == body
    assert error_event(CHAT.provider, problem).startswith(b'data: {"error":{"message":"gone"')
