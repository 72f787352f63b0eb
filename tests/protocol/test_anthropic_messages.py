"""Where anthropic.messages' attachments stand, and what takes their place."""

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
    Ref,
    dialect,
    dotted,
)

MESSAGES = dialect("anthropic.messages")
DIGEST = Digest.of(b"x")
REF = f"blob:{DIGEST}"
OURS = "file-cc" + "a" * 24


def user(*blocks: Json) -> list[Json]:
    return [{"role": "user", "content": list(blocks)}]


def image(source: Json) -> Json:
    return {"type": "image", "source": source}


def test_every_kind_of_attachment_is_found_in_order() -> None:
    pointer = base64.b64encode(str(Pointer(DIGEST, 1)).encode()).decode()
    inner = image({"type": "url", "url": REF})
    messages = user(
        {"type": "text", "text": REF},
        image({"type": "base64", "media_type": "image/png", "data": "AAAA"}),
        image({"type": "base64", "media_type": "image/png", "data": pointer}),
        image({"type": "base64", "media_type": "image/png", "data": REF}),
        {"type": "document", "source": {"type": "file", "file_id": OURS}},
        {"type": "document", "source": {"type": "file", "file_id": "file_theirs"}},
        {"type": "document", "source": {"type": "text", "data": REF}},
        {"type": "document", "source": {"type": "content", "content": [inner]}},
        {"type": "tool_use", "input": {"content": [inner], "source": {"type": "url", "url": REF}}},
        {"type": "tool_result", "content": [{"type": "text", "text": "a"}, inner]},
        {"type": "tool_result", "content": REF},
        {
            "type": "web_fetch_tool_result",
            "content": {
                "type": "web_fetch_result",
                "content": {"type": "document", "source": inner},
            },
        },
        {"type": "search_result", "source": "https://a", "content": []},
        image({"type": "url", "url": "https://pictures.example/a.png"}),
        image({"type": "url", "url": "data:image/png;base64,AAAA"}),
        image({"type": "of_the_future", "url": REF}),
        "a bare string",
    )
    assert [(dotted(slot.path), type(slot.found)) for slot in MESSAGES.walk(messages)] == [
        ("messages.0.content.1.source", FoundInline),
        ("messages.0.content.2.source", FoundPointer),
        ("messages.0.content.3.source", FoundRef),
        ("messages.0.content.4.source", FoundFileId),
        ("messages.0.content.7.source.content.0.source", FoundRef),
        ("messages.0.content.9.content.1.source", FoundRef),
    ]


def test_a_type_declared_beside_a_ref_is_its_type() -> None:
    source: Json = {"type": "base64", "media_type": "image/PNG; q=1", "data": REF}
    (slot,) = MESSAGES.walk(user(image(source)))
    assert slot.found == FoundRef(Ref(DIGEST, "image/png"))


@pytest.mark.parametrize(
    ("messages", "path"),
    [
        (None, "messages"),
        ("text", "messages"),
        ([1], "messages.0"),
        ([{"content": 1}], "messages.0.content"),
        (user(1), "messages.0.content.0"),
        (user(image("x")), "messages.0.content.0.source"),
        (user(image({"type": "base64", "data": 1})), "messages.0.content.0.source.data"),
        (
            user(image({"type": "base64", "media_type": 1, "data": "AAAA"})),
            "messages.0.content.0.source.media_type",
        ),
        (user(image({"type": "url", "url": []})), "messages.0.content.0.source.url"),
        (user(image({"type": "file", "file_id": 1})), "messages.0.content.0.source.file_id"),
        (user(image({"type": "url", "url": "blob:sha256:x"})), "messages.0.content.0.source"),
        (user({"type": "tool_result", "content": 1}), "messages.0.content.0.content"),
        (user({"type": "container_upload", "file_id": OURS}), "messages.0.content.0.file_id"),
    ],
)
def test_wrong_types_are_named_by_path(messages: Json, path: str) -> None:
    with pytest.raises(MalformedMessageError) as caught:
        MESSAGES.walk(messages)
    assert caught.value.path == path


@pytest.mark.parametrize(
    "source",
    [
        {"type": "url", "url": REF},
        {"type": "file", "file_id": OURS},
        {"type": "base64", "media_type": "a/b", "data": REF},
    ],
)
def test_a_source_gives_way_as_a_whole(source: Json) -> None:
    block: Json = {"cache_control": {"type": "ephemeral"}, "source": source, "type": "image"}
    messages = user(block)
    (slot,) = MESSAGES.walk(messages)
    slot.put_inline("image/png", "AAAA")
    whole: Json = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    assert messages == user(
        {"cache_control": {"type": "ephemeral"}, "source": whole, "type": "image"}
    )


def test_keys_of_a_source_that_are_nobodys_stay() -> None:
    messages = user(image({"type": "base64", "data": "AAAA", "media_type": "a/b", "extra": [1]}))
    (slot,) = MESSAGES.walk(messages)
    slot.put_ref(Ref(DIGEST))
    assert messages == user(image({"type": "url", "url": REF, "extra": [1]}))
