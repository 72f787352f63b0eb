"""Conditions and ranges, decided from headers alone."""

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from coatcheck.protocol import Digest
from coatcheck.web.conditions import (
    NotModified,
    PreconditionFailed,
    Selection,
    Unsatisfiable,
    decide,
)
from coatcheck.web.ranges import Span

DIGEST = Digest.of(b"ten bytes.")
TAG = f'"{DIGEST}"'
OTHER = f'"{Digest.of(b"other")}"'
DATE = "Wed, 21 Oct 2026 07:28:00 GMT"
WHOLE = Selection((Span(0, 10),))
Headers = list[tuple[str, str]]


def part(*spans: tuple[int, int]) -> Selection:
    return Selection(tuple(Span(*span) for span in spans), is_part=True)


def decided(*headers: tuple[str, str]) -> object:
    return decide(CIMultiDictProxy(CIMultiDict(headers)), DIGEST, 10)


@pytest.mark.parametrize(
    ("value", "decision"),
    [
        ("*", WHOLE),
        (" * ", WHOLE),
        (TAG, WHOLE),
        (f'"x",{TAG}', WHOLE),
        (f',,"x"\t,{TAG},', WHOLE),
        (f"W/{TAG}", PreconditionFailed()),
        (f"W/{TAG}, {TAG}", WHOLE),
        (OTHER, PreconditionFailed()),
        ("", PreconditionFailed()),
        (f"{OTHER}, *", PreconditionFailed()),
        (str(DIGEST), PreconditionFailed()),
    ],
)
def test_if_match_compares_strongly(value: str, decision: object) -> None:
    assert decided(("If-Match", value)) == decision


@pytest.mark.parametrize(
    ("value", "decision"),
    [
        ("*", NotModified()),
        (TAG, NotModified()),
        (f"W/{TAG}", NotModified()),
        (f',, "x,y" ,{TAG}', NotModified()),
        (f'{OTHER} , W/"x", {TAG}', NotModified()),
        (f"w/{TAG}", WHOLE),
        ('"*"', WHOLE),
        ("", WHOLE),
        (OTHER, WHOLE),
        (f"{OTHER}, *", WHOLE),
        (f"garbage, {TAG}", WHOLE),
    ],
)
def test_if_none_match_compares_weakly(value: str, decision: object) -> None:
    assert decided(("If-None-Match", value)) == decision


@pytest.mark.parametrize("name", ["If-Match", "If-None-Match"])
def test_the_lines_of_a_list_are_one_list(name: str) -> None:
    decision = WHOLE if name == "If-Match" else NotModified()
    assert decided((name, OTHER), (name, TAG)) == decision


@pytest.mark.parametrize(
    ("condition", "decision"),
    [
        (TAG, part((1, 3))),
        (f" {TAG} ", part((1, 3))),
        (OTHER, WHOLE),
        (f"W/{TAG}", WHOLE),
        (f"{TAG}, {TAG}", WHOLE),
        ("*", WHOLE),
        (DATE, WHOLE),
        ("", WHOLE),
    ],
)
def test_if_range_takes_the_strong_tag_alone(condition: str, decision: object) -> None:
    assert decided(("Range", "bytes=1-2"), ("If-Range", condition)) == decision
    assert decided(("If-Range", condition)) == WHOLE


@pytest.mark.parametrize(
    ("headers", "decision"),
    [
        ([], WHOLE),
        ([("If-Match", OTHER), ("If-None-Match", TAG)], PreconditionFailed()),
        ([("If-Match", TAG), ("If-None-Match", TAG)], NotModified()),
        ([("If-Match", OTHER), ("Range", "bytes=10-")], PreconditionFailed()),
        ([("If-None-Match", TAG), ("Range", "bytes=10-")], NotModified()),
        ([("If-None-Match", OTHER), ("Range", "bytes=2-3")], part((2, 4))),
        ([("If-Range", OTHER), ("Range", "bytes=10-")], WHOLE),
        ([("Range", "bytes=10-")], Unsatisfiable()),
        ([("If-Unmodified-Since", DATE), ("Range", "bytes=2-3")], part((2, 4))),
        ([("If-Modified-Since", DATE)], WHOLE),
        ([("Range", "bytes=0-1"), ("Range", "bytes=5-6")], WHOLE),
        ([("range", "bytes=0-1,5-6")], part((0, 2), (5, 7))),
    ],
)
def test_conditions_come_before_the_range(headers: Headers, decision: object) -> None:
    assert decided(*headers) == decision
