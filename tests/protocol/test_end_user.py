"""Names of end users, and where a body says one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coatcheck.protocol import (
    FILE_ID_BYTES,
    InvalidEndUserError,
    Json,
    dialect,
    file_id_of,
    is_end_user,
    is_file_id,
    parse_end_user,
)


@pytest.mark.parametrize(
    "name", ["a", "Ann é", "user@example.org", "a" * 256, "\U0001f9e5", "a  b"]
)
def test_a_name_is_taken_as_it_is(name: str) -> None:
    assert parse_end_user(name) == name


@pytest.mark.parametrize(
    "name", ["", " ", " a", "a ", "a\n", "\ta", "a\x00b", "a\x7f", "a\x80", "\udcff", "a" * 257]
)
def test_a_malformed_name_is_refused(name: str) -> None:
    assert not is_end_user(name)
    with pytest.raises(InvalidEndUserError) as caught:
        parse_end_user(name)
    assert (caught.value.code, caught.value.retryable) == ("end_user_invalid", False)


@given(st.text(max_size=300))
def test_a_name_survives_a_header(name: str) -> None:
    if is_end_user(name):
        assert name.encode().decode("utf-8", "surrogateescape") == name
        assert name.strip(" \t") == name


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({}, None),
        ({"user": "bob"}, "bob"),
        ({"user": "bob", "safety_identifier": "hash"}, "hash"),
        ({"user": "bob", "safety_identifier": None}, "bob"),
        ({"user": "bob", "safety_identifier": ""}, "bob"),
        ({"user": {"name": "bob"}}, None),
    ],
)
@pytest.mark.parametrize("name_of_dialect", ["openai.chat", "openai.responses"])
def test_openais_turns_say_whom_they_are_for(
    name_of_dialect: str, body: dict[str, Json], name: str | None
) -> None:
    assert dialect(name_of_dialect).end_user(body) == name


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({}, None),
        ({"metadata": {"user_id": "ann"}}, "ann"),
        ({"metadata": {"user_id": "x" * 257}}, None),
        ({"metadata": {"user_id": None}}, None),
        ({"metadata": {"user_id": ["ann"]}}, None),
        ({"metadata": {}}, None),
        ({"metadata": None, "user": "ann"}, None),
        ({"metadata": "ann"}, None),
    ],
)
def test_a_turn_of_anthropics_says_whom_it_is_for(body: dict[str, Json], name: str | None) -> None:
    assert dialect("anthropic.messages").end_user(body) == name


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({}, None),
        ({"user_id": "ann"}, "ann"),
        ({"user_id": "ann", "data": {"user": "bob", "user_id": "bob"}}, "ann"),
        ({"data": {"user_id": "bob"}}, None),
        ({"user_id": None}, None),
        ({"user_id": ""}, None),
        ({"user_id": {"id": "ann"}}, None),
        ({"user_id": "x" * 257}, None),
    ],
)
def test_a_turn_of_difys_says_whom_it_is_for(body: dict[str, Json], name: str | None) -> None:
    assert dialect("dify.llm").end_user(body) == name


def test_a_turn_of_geminis_names_nobody() -> None:
    body: dict[str, Json] = {"user": "ann", "metadata": {"user_id": "ann"}, "labels": {"a": "ann"}}
    assert dialect("gemini.generate").end_user(body) is None


@given(st.binary(min_size=FILE_ID_BYTES, max_size=FILE_ID_BYTES))
def test_random_bytes_make_a_file_id(random: bytes) -> None:
    assert is_file_id(file_id_of(random))
