"""Range headers: which bytes they get, and how little they can make a server send."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coatcheck.web.ranges import MAX_RANGES, MAX_TURNS, Span, select_spans

SIZE = 10
HUGE = "9" * 5000
Spec = tuple[int | None, int | None]


def spans(*pairs: tuple[int, int]) -> tuple[Span, ...]:
    return tuple(Span(*pair) for pair in pairs)


@pytest.mark.parametrize(
    ("asked", "selected"),
    [
        ("bytes=0-0", spans((0, 1))),
        ("bytes=9-9", spans((9, 10))),
        ("bytes=2-", spans((2, 10))),
        ("bytes=0-", spans((0, 10))),
        ("bytes=2-99", spans((2, 10))),
        ("bytes=-1", spans((9, 10))),
        ("bytes=-10", spans((0, 10))),
        ("bytes=-99", spans((0, 10))),
        (f"bytes=-{HUGE}", spans((0, 10))),
        (f"bytes=3-{HUGE}", spans((3, 10))),
        (f"bytes={'0' * 5000}3-{'0' * 100}4", spans((3, 5))),
        (" BYTES \t= 1-2 ", spans((1, 3))),
        ("bytes=0-0,-1", spans((0, 1), (9, 10))),
        ("bytes=,0-0, ,\t5-6 ,", spans((0, 1), (5, 7))),
        ("bytes=5-6,0-0", spans((5, 7), (0, 1))),
        ("bytes=5-6,20-30,0-0", spans((5, 7), (0, 1))),
        ("bytes=0-1,2-3", spans((0, 4))),
        ("bytes=0-1,3-4", spans((0, 2), (3, 5))),
        ("bytes=7-8,0-1,1-2", spans((7, 9), (0, 3))),
        ("bytes=3-4,8-9,0-4", spans((0, 5), (8, 10))),
        ("bytes=8-8,4-4,0-9", spans((0, 10))),
        ("bytes=-5,-3,0-", spans((0, 10))),
    ],
)
def test_ranges_get_their_bytes(asked: str, selected: tuple[Span, ...]) -> None:
    assert select_spans(asked, SIZE) == selected


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=10-10",
        "bytes=10-",
        "bytes=-0",
        "bytes=10-11,-0",
        f"bytes={HUGE}-",
        f"bytes={HUGE}-{HUGE}",
    ],
)
def test_ranges_without_a_byte_of_the_blob_are_not_satisfiable(asked: str) -> None:
    assert select_spans(asked, SIZE) == ()


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=1-2-3",
        "bytes=--1",
        "bytes=+1-2",
        "bytes=1 -2",
        "bytes=0x1-2",
        "bytes=\u0663-\u0664",
        "bytes=9-8",
        "bytes=0-1,9-8",
        f"bytes={HUGE}1-{HUGE}",
        "bytes=0-1;2-3",
        "bytes=0-1, bytes=2-3",
        "bytes:0-1",
        "lines=0-1",
        "kilobytes=0-1",
    ],
)
def test_malformed_ranges_and_other_units_are_ignored(asked: str) -> None:
    assert select_spans(asked, SIZE) is None


def test_a_header_may_have_so_many_ranges_and_no_more() -> None:
    asked = [f"{2 * n}-{2 * n}" for n in range(MAX_RANGES + 1)]
    taken = select_spans(f"bytes={','.join(asked[:-1])}", 1000)
    assert taken == tuple(Span(2 * n, 2 * n + 1) for n in range(MAX_RANGES))
    assert select_spans(f"bytes={','.join(asked)}", 1000) is None
    assert select_spans(f"bytes={','.join(['0-'] * MAX_RANGES)}", 1000) == spans((0, 1000))
    assert select_spans(f"bytes={','.join(['0-'] * (MAX_RANGES + 1))}", 1000) is None


def test_a_header_may_turn_back_so_often_and_no_oftener() -> None:
    starts = range(10 * (MAX_TURNS + 1), -1, -10)
    asked = [f"{start}-{start}" for start in starts]
    assert len(select_spans(f"bytes={','.join(asked[1:])}", 1000) or ()) == MAX_TURNS + 1
    assert select_spans(f"bytes={','.join(asked)}", 1000) is None


def wanted(spec: Spec, size: int) -> range:
    """The bytes that one range asks for, said the way Python slices."""
    first, last = spec
    if first is None:
        return range(size)[-last:] if last else range(0)
    return range(size)[first : None if last is None else last + 1]


def is_valid(spec: Spec) -> bool:
    first, last = spec
    return first is None or last is None or first <= last


def written(specs: list[Spec]) -> str:
    return "bytes=" + ",".join(
        f"{'' if first is None else first}-{'' if last is None else last}" for first, last in specs
    )


places = st.integers(0, 60)
a_spec = st.one_of(
    st.tuples(places, places), st.tuples(places, st.none()), st.tuples(st.none(), places)
)


@given(size=st.integers(1, 50), specs=st.lists(a_spec, min_size=1, max_size=MAX_RANGES + 2))
def test_what_is_sent_are_the_bytes_asked_for_each_once(size: int, specs: list[Spec]) -> None:
    selected = select_spans(written(specs), size)
    if selected is None:
        is_short = len(specs) <= MAX_TURNS + 1  # too few to turn back too often
        assert not (is_short and all(map(is_valid, specs)))
        return
    assert all(map(is_valid, specs))
    sent = [at for span in selected for at in range(span.start, span.stop)]
    assert len(sent) == len(set(sent)) <= size
    assert set(sent) == set().union(*(wanted(spec, size) for spec in specs))
    edges = sorted((span.start, span.stop) for span in selected)
    assert all(stop < start for (_, stop), (start, _) in itertools.pairwise(edges))
    assert sum(b.start < a.start for a, b in itertools.pairwise(selected)) <= MAX_TURNS


@given(size=st.integers(1, 50), specs=st.lists(a_spec, min_size=1, max_size=MAX_RANGES))
def test_spans_stand_in_the_order_in_which_they_were_asked_for(
    size: int, specs: list[Spec]
) -> None:
    selected = select_spans(written(specs), size)
    first_asked = [
        min(
            place
            for place, spec in enumerate(specs)
            if (asked := wanted(spec, size)) and span.start <= asked[0] < span.stop
        )
        for span in selected or ()
    ]
    assert first_asked == sorted(first_asked)


@given(
    size=st.integers(1, 50),
    specs=st.lists(a_spec.filter(is_valid), min_size=1, max_size=MAX_RANGES),
)
def test_ranges_in_ascending_order_are_never_ignored(size: int, specs: list[Spec]) -> None:
    ascending = sorted(specs, key=lambda spec: min(wanted(spec, size), default=0))
    assert select_spans(written(ascending), size) is not None
