"""The rules of `previous_response_id`: what a request continues, and what is kept of it."""

import pytest

from coatcheck.protocol import (
    Digest,
    Envelope,
    Json,
    JsonObject,
    MalformedRequestError,
    continued,
    is_response_id,
    is_stored,
    previous_response,
)

PARENT = Digest.of(b"parent")
NEW: list[Json] = [{"role": "user", "content": "new"}]


@pytest.mark.parametrize("body", [{}, {"previous_response_id": None}, {"conversation": "c"}])
def test_a_request_may_continue_nothing(body: JsonObject) -> None:
    assert previous_response(body) is None


def test_a_request_continues_what_it_names() -> None:
    body: JsonObject = {"previous_response_id": "resp_1", "conversation": None}
    assert previous_response(body) == "resp_1"


@pytest.mark.parametrize("value", [7, True, [], {"id": "resp_1"}])
def test_an_id_is_a_string(value: Json) -> None:
    with pytest.raises(MalformedRequestError) as refused:
        previous_response({"previous_response_id": value})
    assert refused.value.path == "previous_response_id"


def test_a_response_and_a_conversation_exclude_each_other() -> None:
    with pytest.raises(MalformedRequestError) as refused:
        previous_response({"previous_response_id": "resp_1", "conversation": {"id": "c"}})
    assert refused.value.code == "mutually_exclusive_parameters"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, True),
        ({"store": True}, True),
        ({"store": None}, True),
        ({"store": False}, False),
        ({"conversation": "c"}, False),
        ({"conversation": None}, True),
    ],
)
def test_what_is_stored(body: JsonObject, expected: bool) -> None:
    assert is_stored(body) is expected


def test_the_envelope_stands_where_the_list_stood() -> None:
    body: JsonObject = {"a": 1, "previous_response_id": "r", "input": [], "model": "m"}
    whole, envelope = continued(body, PARENT, NEW, "input", None)
    assert list(whole) == ["a", "coatcheck", "model"]
    assert whole["coatcheck"] == envelope.to_json()
    assert (envelope.parent, envelope.append) == (PARENT, NEW)


def test_without_a_list_it_stands_where_the_id_stood() -> None:
    body: JsonObject = {"previous_response_id": "r", "model": "m"}
    whole, envelope = continued(body, PARENT, [], "input", None)
    assert list(whole) == ["coatcheck", "model"]
    assert (envelope.parent, envelope.append) == (PARENT, [])


def test_a_requests_own_envelope_keeps_its_place_and_its_fields() -> None:
    fields = {"tools": Digest.of(b"tools")}
    own = Envelope(None, NEW, fields)
    body: JsonObject = {
        "input": [],
        "previous_response_id": "r",
        "coatcheck": own.to_json(),
        "b": 1,
    }
    whole, envelope = continued(body, PARENT, NEW, "input", own)
    assert list(whole) == ["coatcheck", "b"]
    assert envelope == Envelope(PARENT, NEW, fields)


@pytest.mark.parametrize("text", ["resp_1", "a", "A-Z.~:=+", "x" * 512])
def test_what_may_be_an_id_of_a_response(text: str) -> None:
    assert is_response_id(text)


@pytest.mark.parametrize("text", ["", "a/b", "a b", "r\u00e9", "a\n", "x" * 513, "%41", "..\\"])
def test_what_may_not(text: str) -> None:
    assert not is_response_id(text)
