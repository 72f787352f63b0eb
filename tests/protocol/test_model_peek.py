"""The model is found in the beginning of a body, wherever it stands and however it is cut."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coatcheck.protocol import peek_model

JSON = "application/json"
FORM = "multipart/form-data; boundary=xYz"


def form(*fields: tuple[str, str]) -> bytes:
    parts = [
        f"--xYz\r\nContent-Disposition: form-data; {name}\r\n\r\n{value}\r\n"
        for name, value in fields
    ]
    return "".join(parts).encode() + b"--xYz--\r\n"


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (b'{"model":"m"}', "m"),
        (
            b'\xef\xbb\xbf {"a":{"model":"no"},"b":["model",{"model":"no"}], "model" : "m\\u00e9"}',
            "mé",
        ),
        (b'{"messages":[{"content":"\\"model\\":\\"no\\""}],"model":"m","x":', "m"),
        (b'{"a":"model","b":"no","model":"m"}', "m"),
        (b'{"model":{"model":"no"}}', None),
        (b'{"model":7,"x":"no"}', None),
        (b'{"model":"m', None),
        (b'{"x":"model', None),
        (b'["model","no"]', None),
        (b'[{"model":"no"}]', None),
        (b'{"model":"\\ud8"}', None),
        (b'{"model":"' + b"m" * 300 + b'"}', None),
        (b"", None),
        (b"nonsense", None),
        (b'"model"', None),
    ],
)
def test_the_model_of_a_json_body(body: bytes, model: str | None) -> None:
    assert peek_model(body, JSON) == model


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (b'{"user_id":"u","data":{"provider":"p","model":"m"}}', "m"),
        (b'{"model":"no","data":{"x":{"model":"no"},"y":[{"model":"no"}],"model" : "m"},', "m"),
        (b'{"data":{"prompt_messages":[{"content":"\\"model\\":\\"no\\""}],"model":"m"', "m"),
        (b'{"x":{"data":{"model":"no"}},"data":{"model":"m"}}', "m"),
        (b'{"a":{"b":1},"data":{},"model":"no"}', None),
        (b'{"data":{"credentials":{"model":"no"}}}', None),
        (b'{"data":{"data":{"model":"no"}}}', None),
        (b'{"data":[{"model":"no"}]}', None),
        (b'[{"data":{"model":"no"}}]', None),
        (b'{"data":null,"model":"no"}', None),
        (b'{"data":"model","x":{"model":"no"}}', None),
        (b'{"data":{"model":{"model":"no"}}}', None),
        (b'{"data":{"model":7,"x":"no"}}', None),
        (b'{"data":{"model":"m', None),
        (b'{"model":"no"}', None),
    ],
)
def test_the_model_within_a_frame(body: bytes, model: str | None) -> None:
    assert peek_model(body, JSON, "data") == model


def test_the_model_of_a_form() -> None:
    body = form(('name="prompt"', 'name="model"'), ('name="model"', "whisper-1"))
    assert peek_model(body, FORM) == "whisper-1"
    assert peek_model(body, 'multipart/form-data; boundary="xYz"; charset=utf-8') == "whisper-1"
    assert peek_model(body[:-20], FORM) is None
    assert peek_model(body, "multipart/form-data") is None
    assert (
        peek_model(form(('name="my-model"', "no"), ('name="file"; filename="model"', "no")), FORM)
        is None
    )


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.just("model"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["model", "a", '\\"', "{"]), inner, max_size=3)
    ),
    max_leaves=9,
)


@given(
    before=st.dictionaries(st.sampled_from(["a", "b", "modell", '"', "\\"]), values, max_size=3),
    model=st.text(max_size=20),
    indent=st.sampled_from([None, 1]),
    cut=st.integers(0, 400),
)
def test_what_json_says_is_what_is_found(
    before: dict[str, object], model: str, indent: int | None, cut: int
) -> None:
    whole = json.dumps({**before, "model": model, "after": before}, indent=indent).encode()
    assert peek_model(whole, JSON) == model
    assert peek_model(whole[:cut], JSON) in (None, model)
    inner = {**before, "model": model, "after": before}
    framed = json.dumps({**before, "data": inner, "model": "no"}, indent=indent).encode()
    assert peek_model(framed, JSON, "data") == model
    assert peek_model(framed[:cut], JSON, "data") in (None, model)


@pytest.mark.parametrize(
    "head",
    [
        b'{"a":"' + b"\\" * (1 << 20),
        b"{" * (1 << 20),
        b'{"a":[' + b'"",' * 300_000,
        b'"' * (1 << 20),
    ],
)
def test_a_megabyte_of_anything_is_read_soon(head: bytes) -> None:
    began = time.process_time()
    assert peek_model(head, JSON) is None
    assert peek_model(head, JSON, "data") is None
    assert time.process_time() - began < 0.5
