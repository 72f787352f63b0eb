"""Only what is replaced changes; everything else is written as it was read."""

import base64
import json
from random import Random

import pytest

from coatcheck.daemon.body import Base64Of
from coatcheck.daemon.source import Resolved
from coatcheck.daemon.splice import Filling, splice, splice_into
from coatcheck.protocol import Digest, FoundRef, JsonObject, decode_json, dialect, shorten_json

BLOB = Resolved(Digest.of(b"x"), 1, "image/png")


def test_the_text_is_cut_where_blobs_go() -> None:
    url = f"blob:{BLOB.digest}"
    body: JsonObject = {
        "n": 9007199254740993,
        "d": 1e-7,
        "messages": [
            {"role": "user", "content": [{"image_url": {"url": url}}, {"image_url": {"url": url}}]}
        ],
        "z": "é",
    }
    slots = dialect("openai.chat").walk(body["messages"])
    segments = splice(body, [Filling(slot, BLOB, "image/png") for slot in slots], b"n" * 16)
    whole = b"".join(s if isinstance(s, bytes) else b"AAAA" for s in segments)
    assert [type(segment) for segment in segments] == [bytes, Base64Of, bytes, Base64Of, bytes]
    expected = json.loads(json.dumps(body).replace(url, "data:image/png;base64,AAAA"))
    messages = expected["messages"][0]["content"]
    for part in messages:
        part["image_url"]["url"] = "data:image/png;base64,AAAA"
    assert decode_json(whole) == expected
    assert b'"n":9007199254740993,"d":1e-07' in whole


def written(text: bytes, name: str = "openai.chat") -> bytes:
    """Return what goes upstream of a body, in which `BLOB` is presented as `AAAA`."""
    short, spoken = shorten_json(text), dialect(name)
    body = decode_json(short, keeps_taken=True)
    assert isinstance(body, dict)
    slots = [*spoken.walk(body[spoken.messages_key]), *spoken.walk_beside(body)]
    fillings = [
        Filling(slot, BLOB, "image/png") for slot in slots if isinstance(slot.found, FoundRef)
    ]
    segments = splice_into(short, body, fillings, b"n" * 16)
    return b"".join(b"AAAA" if isinstance(one, Base64Of) else one for one in segments)


REF = f"blob:{BLOB.digest}"
PNG = "data:image/png;base64,AAAA"


@pytest.mark.parametrize("indent", [None, 0, 3])
@pytest.mark.parametrize("is_ascii", [True, False])
def test_what_is_not_replaced_stays_as_the_client_wrote_it(
    indent: int | None, is_ascii: bool
) -> None:
    body: JsonObject = {
        "model": "m",
        "messages": [
            {"role": "user", "content": 'Größe \\ " <b> \ud800'},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": REF}}]},
            {"role": "user", "content": []},
        ],
        "é": 1.50,
    }
    text = json.dumps(body, indent=indent, ensure_ascii=is_ascii).encode(
        "utf-8", "backslashreplace"
    )
    text = text.replace(b"1.5", b"1.50e0").replace(b"<b>", b"\\u003cb>")
    whole = written(text)
    assert decode_json(whole) == decode_json(text.replace(REF.encode(), PNG.encode()))
    part = text.index(b"{", text.index(b"content", text.index(b"content") + 1))
    assert whole.startswith(text[:part])
    assert whole.endswith(text[text.rindex(b'"role"') :])
    if indent is None:
        assert whole == text.replace(REF.encode(), PNG.encode())


def test_long_inline_bytes_are_spliced_as_they_came() -> None:
    long = base64.b64encode(Random(1).randbytes(150_000)).decode()
    parts = [
        {"image_url": {"url": f"data:image/png;base64,{long}"}},
        {"image_url": {"url": REF}},
        {"image_url": {"url": long}},
    ]
    body = {"messages": [{"role": "user", "content": parts}], "z": {"more": long}}
    text = json.dumps(body).encode()
    assert len(shorten_json(text).taken) == 3
    assert written(text) == text.replace(REF.encode(), PNG.encode())


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
@pytest.mark.parametrize("is_ascii", [True, False])
def test_a_part_whose_long_inline_bytes_give_way_is_spelled_as_it_was(
    separators: tuple[str, str], is_ascii: bool
) -> None:
    url = f"data:image/png;base64,{base64.b64encode(Random(1).randbytes(99_999)).decode()}"
    parts = [{"type": "image_url", "image_url": {"url": url}, "name": "é"} for _ in range(2)]
    body = {"messages": [{"role": "user", "content": parts}], "n": 1.50}
    text = json.dumps(body, separators=separators, ensure_ascii=is_ascii).encode()
    short = shorten_json(text)
    assert len(short.taken) == 2
    parsed = decode_json(short, keeps_taken=True)
    assert isinstance(parsed, dict)
    slots = dialect("openai.chat").walk(parsed["messages"])
    segments = splice_into(short, parsed, [Filling(slots[1], BLOB, "image/png")], b"n" * 16)
    sent = b"".join(b"AAAA" if isinstance(one, Base64Of) else one for one in segments)
    head, _, tail = text.rpartition(url.encode())
    assert sent == head + PNG.encode() + tail


def test_a_text_that_reads_like_a_mark_stays_a_text() -> None:
    long = base64.b64encode(Random(1).randbytes(99_999)).decode()
    mark = "@coatcheck.base64:0@"
    part = {"type": "image_url", "image_url": {"url": REF}, "name": f"see {mark} and {mark}"}
    inline = {"type": "file", "file": {"file_data": long}}
    body = {"messages": [{"role": "user", "content": [inline, part]}]}
    text = json.dumps(body).replace("@", "\\u0040").encode()
    assert len(shorten_json(text).taken) == 1
    sent = json.loads(written(text))
    assert sent == json.loads(text.replace(REF.encode(), PNG.encode()))


def test_a_part_inside_a_part_is_written_once() -> None:
    image = {"type": "image", "source": {"type": "url", "url": REF}}
    outer = {"type": "tool_result", "source": {"type": "url", "url": REF}, "content": [image]}
    text = json.dumps({"messages": [{"role": "user", "content": [outer, image]}]}).encode()
    source = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
    inner = {"type": "image", "source": source}
    expected = {"messages": [{"role": "user", "content": [{**outer, "source": source}, inner]}]}
    expected["messages"][0]["content"][0]["content"] = [inner]  # type: ignore[index]
    assert json.loads(written(text, "anthropic.messages")) == expected


@pytest.mark.parametrize("is_listed", [True, False])
def test_single_objects_stand_for_lists(is_listed: bool) -> None:
    part: object = {"fileData": {"fileUri": REF, "mimeType": "image/png"}}
    parts = [part] if is_listed else part
    body = {"contents": {"parts": parts}, "systemInstruction": {"parts": [part, {"text": "x"}]}}
    whole = written(json.dumps(body).encode(), "gemini.generate")
    inline = '{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}'
    assert whole.decode() == json.dumps(body).replace(json.dumps(part), inline)


def test_a_body_without_fillings_is_one_text() -> None:
    assert splice({"a": "@" + "6e" * 16 + ":0@"}, [], b"m" * 16) == [
        b'{"a":"@' + b"6e" * 16 + b':0@"}'
    ]
