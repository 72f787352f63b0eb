"""The RFC 8785 form is the reference's, whichever way it is written."""

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from coatcheck.protocol import Json, PromptDigestError, canonical_json

_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    _texts,
)
_values: st.SearchStrategy[Json] = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)


@given(_values)
def test_it_is_the_references(value: Json) -> None:
    assert canonical_json(value) == rfc8785.dumps(value)


def test_every_character_is_written_as_the_reference_does() -> None:
    for start in range(0, 0x11000, 0x100):
        text = "".join(chr(at) for at in range(start, start + 0x100) if not 0xD800 <= at < 0xE000)
        assert canonical_json([text]) == rfc8785.dumps([text])


def test_keys_are_in_the_order_of_utf_16() -> None:
    keys = ["\ue000", "\U0001f600", "a", "é", "B", "", "1", "10", "2"]
    value: Json = dict.fromkeys(keys, 1)
    assert canonical_json(value) == rfc8785.dumps(value)
    assert canonical_json(value).decode().index("\U0001f600") < canonical_json(
        value
    ).decode().index("\ue000")


@pytest.mark.parametrize("value", [2**53, -(2**53), "\ud800", {"\udfff": 1}, float("nan"), [2**60]])
def test_what_has_no_such_form_is_refused(value: Json) -> None:
    with pytest.raises(PromptDigestError):
        canonical_json(value)
    with pytest.raises(PromptDigestError):
        canonical_json({"in": [value]})
