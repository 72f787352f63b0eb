"""JSON that two readers could understand differently is refused by name."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coatcheck.protocol import Json, JsonError, decode_json, encode_json

_values: st.SearchStrategy[Json] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(_values)
def test_what_is_written_reads_back_the_same(value: Json) -> None:
    assert decode_json(encode_json(value)) == value


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"a":1,"b":{"c":1,"c":2}}', "duplicate key 'c'"),
        ("[NaN]", "NaN"),
        ("[-Infinity]", "-Infinity"),
        ("[1e999]", "range"),
        ("[" * 201 + "]" * 201, "deeper than 200"),
        ("[" * 100_000, "deeper than 200"),
        ("[" + "9" * 5000 + "]", "digits"),
        ("{", "character"),
        ("", "not JSON"),
        ('"\\x"', "not JSON"),
        ('"a\nb"', "not JSON"),
        ("[1] x", "not JSON"),
    ],
)
def test_ambiguous_or_broken_json_is_refused(text: str, named: str) -> None:
    with pytest.raises(JsonError, match=named):
        decode_json(text)


def test_bytes_that_are_not_utf8_are_refused() -> None:
    with pytest.raises(JsonError, match="byte 1"):
        decode_json(b'"\xff"')


def test_nesting_of_200_is_accepted() -> None:
    assert decode_json("[" * 200 + "]" * 200)


def test_numbers_keep_their_value() -> None:
    text = "[9007199254740993,1e-7,0.1,123456789012345678901234567890,1.5e300]"
    assert json.loads(encode_json(decode_json(text))) == json.loads(text)


def test_a_lone_surrogate_survives() -> None:
    assert decode_json(encode_json(decode_json('"\\ud800"'))) == "\ud800"


def test_reading_is_linear_in_length() -> None:
    def seconds(megabytes: int) -> float:
        text = b'{"a":"' + b"x " * (megabytes << 19) + b'"}'
        best = float("inf")
        for _ in range(3):
            start = time.thread_time()
            decode_json(text)
            best = min(best, time.thread_time() - start)
        return best

    assert seconds(80) < 4 * 3 * seconds(20)  # linear is 4, quadratic 16
