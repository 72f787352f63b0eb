"""Conditions and ranges, decided from headers alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coatcheck.protocol import Digest
from coatcheck.web.conditions import (
    NotModified,
    PreconditionFailed,
    Selection,
    Unsatisfiable,
    decide,
)

DIGEST = Digest.of(b"ten bytes.")
TAG = f'"{DIGEST}"'
OTHER = f'"{Digest.of(b"other")}"'


@pytest.mark.parametrize(
    ("headers", "decision"),
    [
        ({}, Selection(0, 10)),
        ({"If-Match": "*"}, Selection(0, 10)),
        ({"If-Match": f'"x",{TAG}'}, Selection(0, 10)),
        ({"If-Match": f"W/{TAG}"}, PreconditionFailed()),
        ({"If-Match": ""}, PreconditionFailed()),
        ({"If-Match": str(DIGEST)}, PreconditionFailed()),
        ({"If-None-Match": '"*"'}, Selection(0, 10)),
        ({"If-None-Match": ""}, Selection(0, 10)),
        ({"If-None-Match": f',, "x,y" ,{TAG}'}, NotModified()),
        ({"If-None-Match": f"garbage, {TAG}"}, Selection(0, 10)),
        ({"If-None-Match": OTHER, "Range": "bytes=2-3"}, Selection(2, 4, True)),
        ({"If-Match": OTHER, "If-None-Match": TAG}, PreconditionFailed()),
        ({"Range": "bytes=9-9"}, Selection(9, 10, True)),
        ({"Range": "bytes=10-10"}, Unsatisfiable()),
        ({"Range": "bytes=9-8"}, Selection(0, 10)),
        ({"Range": "bytes=-"}, Selection(0, 10)),
        ({"Range": "bytes="}, Selection(0, 10)),
        ({"Range": "bytes=٣-٤"}, Selection(0, 10)),
        ({"Range": "bytes=1-2", "If-Range": f" {TAG} "}, Selection(1, 3, True)),
        ({"Range": "bytes=1-2", "If-Range": OTHER}, Selection(0, 10)),
    ],
)
def test_conditions_come_before_the_range(headers: dict[str, str], decision: object) -> None:
    assert decide(headers, DIGEST, 10) == decision


@given(
    size=st.integers(1, 50),
    first=st.integers(0, 60) | st.none(),
    last=st.integers(0, 60) | st.none(),
)
def test_a_selected_range_is_what_slicing_selects(
    size: int, first: int | None, last: int | None
) -> None:
    data = bytes(range(size))
    asked = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    decision = decide({"Range": asked}, DIGEST, size)
    if first is None:
        wanted = data[-last:] if last else None if last == 0 else data
    elif last is not None and last < first:
        wanted = data
    else:
        wanted = data[first : None if last is None else last + 1] or None
    if wanted is None:
        assert decision == Unsatisfiable()
    else:
        assert isinstance(decision, Selection)
        assert data[decision.start : decision.stop] == wanted
