"""What holds of every dialect, whatever it is given."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coatcheck.protocol import (
    DIALECTS,
    SNIFF_BYTES,
    Dialect,
    Digest,
    FoundRef,
    Json,
    JsonObject,
    MalformedMessageError,
    Pointer,
    RefForm,
    copy_json,
    messages_in,
    ref_form,
    sniff,
    with_framed,
)

GIF = base64.b64decode("R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs=")
PDF = b"%PDF-1.4\n%%EOF\n"
FILE_ID = "file-cc" + "a" * 24
KEYS = (
    *("type", "role", "content", "output", "outputs", "result", "parts", "source", "prompt"),
    *("image_url", "url", "file", "file_id", "file_data", "file_url", "input_audio", "data"),
    *("media_type", "inlineData", "inline_data", "fileData", "fileUri", "file_uri", "mimeType"),
    *(
        "base64_data",
        "format",
        "mime_type",
        "functionResponse",
        "contents",
        "systemInstruction",
        "variables",
        "tools",
    ),
)
TEXTS = (
    *("", "image", "base64", "url", "content", "document", "input_file", "image_generation_call"),
    f"blob:{Digest.of(GIF)}",
    f"blob:{Digest.of(GIF)}?type=image/gif",
    *("blob:sha256:x", "file-theirs", FILE_ID, f"files/{FILE_ID}", "https://a.example/x.png"),
    f"data:image/gif;base64,{base64.b64encode(GIF).decode()}",
    *("data:image/png;base64,AAA", "data:,x", "image/png", "Image/GIF; q=1", "\ud800"),
    base64.b64encode(str(Pointer(Digest.of(GIF), len(GIF))).encode()).decode(),
    base64.b64encode(GIF).decode(),
)

leaves: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.sampled_from(TEXTS) | st.text(max_size=5)
)
values: st.SearchStrategy[Any] = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=5)
    ),
    max_leaves=40,
)
every_dialect = pytest.mark.parametrize("spoken", DIALECTS.values(), ids=DIALECTS)


@every_dialect
@given(value=values)
def test_any_json_is_walked_or_refused_by_name(spoken: Dialect, value: Json) -> None:
    beside: JsonObject = {"prompt": value, "tools": value}
    for body in (value, with_framed(spoken, beside, {**beside, spoken.messages_key: value})):
        if not isinstance(body, dict):
            continue
        try:
            found = [*spoken.walk(messages_in(spoken, body)), *spoken.walk_beside(body)]
        except MalformedMessageError:
            continue
        for slot in found:
            slot.put_inline("image/gif", "R0lG")


@every_dialect
@given(message=st.dictionaries(st.sampled_from(KEYS), values, max_size=6))
def test_ref_form_is_its_own_ref_form(spoken: Dialect, message: JsonObject) -> None:
    try:
        short = ref_form(spoken, [message]).messages
    except MalformedMessageError:
        return
    assert ref_form(spoken, short).messages == short


def _pair(data: bytes, media_type: str) -> tuple[str, str]:
    return media_type, base64.b64encode(data).decode()


def _chat(media_type: str, text: str) -> list[Json]:
    url = f"data:{media_type};base64,{text}"
    return [
        {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
        {"type": "image_url", "image_url": url},
        {"type": "input_audio", "input_audio": {"format": "wav", "data": text}},
        {"type": "file", "file": {"filename": "f", "file_data": url}},
        {"type": "file", "file": {"file_id": "file-theirs"}},
    ]


def _responses(media_type: str, text: str) -> list[Json]:
    url = f"data:{media_type};base64,{text}"
    return [
        {"type": "input_image", "image_url": url, "detail": "auto"},
        {"type": "input_file", "filename": "f", "file_data": url},
        {"type": "input_file", "file_url": url},
        {"type": "input_image", "file_id": "file-theirs"},
    ]


def _blocks(media_type: str, text: str) -> list[Json]:
    source: JsonObject = {"type": "base64", "media_type": media_type, "data": text}
    block: Json = {"type": "image", "source": source, "cache_control": {"type": "ephemeral"}}
    return [
        block,
        {"type": "document", "title": "t", "source": {**source, "more": None}},
        {"type": "tool_result", "tool_use_id": "t", "content": [block]},
        {"type": "document", "source": {"type": "content", "content": [block]}},
        {"type": "image", "source": {"type": "url", "url": f"data:{media_type};base64,{text}"}},
    ]


def _url_safe(text: str) -> str:
    return text.replace("+", "-").replace("/", "_")


def _parts(media_type: str, text: str) -> list[Json]:
    camel: Json = {"inlineData": {"mimeType": media_type, "data": text, "displayName": "d"}}
    return [
        camel,
        {"inlineData": {"data": _url_safe(text), "mime_type": media_type}, "thought": True},
        {
            "functionResponse": {
                "parts": {"inline_data": {"data": _url_safe(text), "mime_type": "a"}}
            }
        },
        {"inline_data": {"mime_type": media_type, "data": text}},
        {"functionResponse": {"name": "f", "response": {}, "parts": [camel]}},
        {"fileData": {"fileUri": "https://a.example/x", "mimeType": media_type}},
    ]


def _items(media_type: str, text: str) -> list[Json]:
    def item(kind: str, base64_data: str = text, url: str = "") -> Json:
        return {
            "type": kind,
            "format": media_type.partition("/")[2],
            "base64_data": base64_data,
            "url": url,
            "mime_type": media_type,
            "filename": "f",
        }

    return [
        item("image"),
        item("document"),
        item("audio"),
        {"url": "", "base64_data": text, "opaque_body": {"a": None}, "mime_type": "A/b; c=d"},
        item("image", "", "https://a.example/x"),
        item("video", text, "https://a.example/x"),
        item("image", "", f"data:{media_type};base64,{text}"),
    ]


PARTS: Mapping[str, tuple[str, Callable[[str, str], list[Json]]]] = {
    "openai.chat": ("content", _chat),
    "openai.responses": ("content", _responses),
    "anthropic.messages": ("content", _blocks),
    "gemini.generate": ("parts", _parts),
    "dify.llm": ("content", _items),
}


def hydrated(spoken: Dialect, form: RefForm) -> list[Json]:
    """Return messages with the bytes back in the place of their refs, as the gateway puts them."""
    data = {blob.digest: blob.decode() for blob in form.inline}
    messages = [copy_json(message) for message in form.messages]
    for slot in spoken.walk(messages):
        if isinstance(slot.found, FoundRef):
            ref = slot.found.ref
            shown = sniff(data[ref.digest][:SNIFF_BYTES]) or "application/octet-stream"
            text = base64.b64encode(data[ref.digest], b"-_" if slot.is_url_safe else None).decode()
            slot.put_inline(ref.media_type or shown, text)
    return messages


@every_dialect
@given(
    inlines=st.lists(
        st.tuples(
            st.sampled_from([GIF, PDF]) | st.binary(min_size=1, max_size=20),
            st.sampled_from(["image/gif", "image/png", "application/pdf", "text/plain"]),
            st.integers(0, 6),
        ),
        max_size=6,
    ),
    text=st.text(max_size=5),
)
def test_hydrating_what_was_dehydrated_gives_it_back(
    spoken: Dialect, inlines: list[tuple[bytes, str, int]], text: str
) -> None:
    key, make = PARTS[spoken.name]
    parts: list[Json] = [{"text": text}]
    for data, media_type, at in inlines:
        made = make(*_pair(data, media_type))
        parts.append(made[at % len(made)])
    messages: list[Json] = [{"role": "user", key: parts}, {"role": "user", key: []}]
    before = copy_json(messages)
    form = ref_form(spoken, messages)
    assert messages == before
    assert hydrated(spoken, form) == before
    assert len(form.places) == len(form.inline)
