"""Taking long base64 out of a JSON text changes nothing that the text means."""

import base64
import json
import time
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coatcheck.protocol import JsonError, decode_json, put_back, shorten_json
from coatcheck.protocol.short_json import MARK

LONG = base64.b64encode(Random(1).randbytes(150_000)).decode()
OTHER = base64.urlsafe_b64encode(Random(2).randbytes(150_001)).decode()
URL = f"data:image/svg+xml;charset=utf-8;base64,{LONG}"
MARKS = (f"{MARK}0@", f"\\u0040{MARK[1:]}0@", f"{MARK}1@", f"{MARK}x", MARK)


@pytest.mark.parametrize("text", [LONG, OTHER, URL, "A" * 200_000])
def test_long_base64_is_taken_out(text: str) -> None:
    body = {"a": "short", "b": {"url": text, "c": [{"d": text}]}, "e": 1.5}
    raw = json.dumps(body).encode()
    short = shorten_json(raw)
    assert [taken.whole for taken in short.taken] == [text, text]
    assert len(short.text) < 300
    assert decode_json(short) == decode_json(raw) == body
    assert put_back(decode_json(short, keeps_taken=True)) == body


@pytest.mark.parametrize(
    "text",
    [
        "word " * 40_000,
        LONG[:100_000] + "\n" + LONG[100_000:],
        LONG[:100_000] + "%" + LONG[100_000:],
        LONG[:-1],
        "ß" * 200_000,
        "data:image/png;base64" + LONG,
        'a "quote" before ' + LONG,
    ],
)
def test_other_long_strings_are_read_as_they_are(text: str) -> None:
    body = {"a": {"url": text}}
    for raw in (json.dumps(body).encode(), json.dumps(body, ensure_ascii=False).encode()):
        assert decode_json(raw) == body


def test_a_control_character_in_long_base64_is_refused() -> None:
    for control in (b"\n", b"\0", b"\x1f"):
        raw = b'{"a":"' + LONG.encode() + control + b'AAA"}'
        with pytest.raises(JsonError, match="control character"):
            decode_json(raw)


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize(
    "frame",
    [
        '{"m":"MARK","a":"LONG"}',
        '{"a":"LONG","m":"MARK"}',
        '{"m":["MARK"],"a":"LONG"}',
        '{"MARK":1,"a":"LONG"}',
        '{"a":"LONG","a2":"LONG","m":"MARK"}',
        '{"a":["LONG"],"m":"MARK"}',
        '{"a":"\\"LONG","m":"MARK"}',
        '{"a":"b:\\"LONG","m":"MARK"}',
        '{"a":["LONG"],"a2": "LONG","m":"MARK"}',
    ],
)
def test_a_mark_that_a_client_wrote_is_text(mark: str, frame: str) -> None:
    raw = frame.replace("MARK", mark).replace("LONG", LONG).encode()
    assert decode_json(raw) == json.loads(raw)


@pytest.mark.parametrize(
    "text",
    ['["LONG"]', '"LONG"', '{"LONG":1}', '{"a":"\\"LONG"}', '{"a":["LONG",{"b":"LONG"}]}'],
)
def test_base64_elsewhere_is_read_too(text: str) -> None:
    raw = text.replace("LONG", LONG).encode()
    assert decode_json(raw) == json.loads(raw)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":"LONG"',
        '{"a":"LONG","a":1}',
        '{"a":"LONG","b":NaN}',
        '{"a":LONG"}',
        '{"a":"LONG" "b"}',
        'LONG"LONG"',
        '"a"LONG"b"',
        '{"a":"\\xLONG"}',
        "[" * 300 + '{"a":"LONG"}' + "]" * 300,
    ],
)
def test_what_is_wrong_is_refused_as_without_it(text: str) -> None:
    with pytest.raises(JsonError) as short:
        decode_json(text.replace("LONG", LONG).encode())
    with pytest.raises(JsonError) as whole:
        decode_json(text.replace("LONG", LONG))  # a str is parsed as it is
    assert str(short.value) == str(whole.value)


_pieces = st.lists(
    st.sampled_from(
        [*'{}[]:,"\\ 1', '"a":', '"LONG"', '"m":"LONG"', '{"u":"LONG"}', *(f'"{m}"' for m in MARKS)]
    ),
    max_size=12,
).map("".join)


@given(_pieces)
def test_any_text_means_what_it_meant(text: str) -> None:
    text = text.replace("LONG", LONG)
    assert _read(text.encode()) == _read(text)


@pytest.mark.parametrize("quoted", [b'"' + b"a" * 70_000 + b' "', b'"\\"', b"1"])
def test_looking_is_linear(quoted: bytes) -> None:
    few, many = ((quoted + b",") * (size // len(quoted)) for size in (1 << 22, 1 << 24))
    # What takes less than a millisecond says more of a processor's caches.
    assert _seconds(lambda: shorten_json(many)) < 4 * 4 * max(
        _seconds(lambda: shorten_json(few)), 0.001
    )


def _read(text: bytes | str) -> object:
    try:
        return decode_json(text)
    except JsonError as error:
        return str(error)


def _seconds(work: object) -> float:
    assert callable(work)
    best = float("inf")
    for _ in range(5):
        began = time.thread_time()
        work()
        best = min(best, time.thread_time() - began)
    return best
