"""Which replica takes a request: stickiness, spread, bounds, and who is left out."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coatcheck.daemon.affinity import LONGEST_PAUSE_SECONDS, Affinity, Chosen

NAMES = [f"http://10.0.0.{n}:8000/v1" for n in range(1, 6)]
NOBODY: frozenset[int] = frozenset()


def roots(count: int) -> list[bytes]:
    draw = random.Random(7)
    return [draw.randbytes(32) for _ in range(count)]


def test_a_conversation_prefers_the_same_replica_in_every_process() -> None:
    first, second = Affinity(NAMES, 8), Affinity(NAMES, 8)
    for root in roots(100):
        chosen = first.choose(root, NOBODY, 0.0)
        assert chosen == second.choose(root, NOBODY, 0.0)
        assert chosen == Chosen(first.order(root)[0], "own")


def test_conversations_are_spread_evenly() -> None:
    affinity = Affinity(NAMES, 8)
    counts = Counter(affinity.choose(root, NOBODY, 0.0).index for root in roots(5000))
    assert sorted(counts) == [0, 1, 2, 3, 4]
    assert all(850 < count < 1150 for count in counts.values())


def test_one_replica_less_moves_its_own_conversations_only() -> None:
    many, fewer = Affinity(NAMES, 8), Affinity(NAMES[:-1], 8)
    for root in roots(500):
        before = many.choose(root, NOBODY, 0.0).index
        if before != 4:
            assert fewer.choose(root, NOBODY, 0.0).index == before


def test_a_busy_replica_keeps_its_conversations_up_to_the_bound_and_spills_then() -> None:
    affinity = Affinity(NAMES, 8)
    root = roots(1)[0]
    own, second = affinity.order(root)[:2]
    for _ in range(8):
        assert affinity.choose(root, NOBODY, 0.0) == Chosen(own, "own")
        affinity.begin(own, 0.0)
    assert affinity.choose(root, NOBODY, 0.0) == Chosen(second, "spilled")
    affinity.end(own)
    assert affinity.choose(root, NOBODY, 0.0) == Chosen(own, "own")


@given(st.integers(2, 6), st.integers(1, 20), st.lists(st.integers(0, 3), max_size=300))
def test_none_runs_more_than_its_share_and_a_quarter(
    count: int, spill: int, drawn: list[int]
) -> None:
    affinity = Affinity([f"http://{n}" for n in range(count)], spill)
    for total, root in enumerate(drawn, 1):
        index = affinity.choose(bytes([root]), NOBODY, 0.0).index
        affinity.begin(index, 0.0)
        assert affinity.running(index) <= max(spill, 1.25 * total / count + 1)


def test_without_a_conversation_each_in_turn_takes_one() -> None:
    affinity = Affinity(NAMES, 8)
    chosen = [affinity.choose(None, NOBODY, 0.0) for _ in range(10)]
    assert [each.index for each in chosen] == [0, 1, 2, 3, 4] * 2
    assert {each.choice for each in chosen} == {"any"}


def test_what_is_no_turn_goes_to_the_first_that_is_there() -> None:
    affinity = Affinity(NAMES, 8)
    assert [affinity.first(NOBODY, 0.0).index for _ in range(3)] == [0, 0, 0]
    affinity.refused(0, 0.0)
    assert affinity.first(NOBODY, 0.5).index == 1
    assert affinity.first(NOBODY, 1.0).index == 0


def test_one_that_refuses_is_left_out_twice_as_long_each_time() -> None:
    affinity, now = Affinity(NAMES, 8), 0.0
    root = roots(1)[0]
    own, second = affinity.order(root)[:2]
    for pause in (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0):
        affinity.begin(own, now)
        affinity.end(own)
        affinity.refused(own, now)
        assert affinity.choose(root, NOBODY, now + pause - 0.01) == Chosen(second, "other")
        now += pause
        assert affinity.choose(root, NOBODY, now) == Chosen(own, "own")
    affinity.reached(own)
    affinity.refused(own, now)
    assert not affinity.is_left_out(own, now + 1.0)


def test_one_request_at_a_time_tries_it_anew() -> None:
    affinity = Affinity(NAMES, 8)
    root = roots(1)[0]
    own = affinity.order(root)[0]
    affinity.refused(own, 0.0)
    assert affinity.choose(root, NOBODY, 1.0).index == own
    affinity.begin(own, 1.0)
    assert affinity.choose(root, NOBODY, 1.0).index != own
    affinity.reached(own)
    assert affinity.choose(root, NOBODY, 1.0).index == own


def test_when_all_are_left_out_all_are_tried() -> None:
    affinity = Affinity(NAMES, 8)
    root = roots(1)[0]
    for index in range(5):
        affinity.refused(index, 0.0)
    order = affinity.order(root)
    for step, index in enumerate(order):
        assert affinity.choose(root, frozenset(order[:step]), 0.1).index == index


@pytest.mark.parametrize("root", [None, b"root"])
def test_all_that_are_there_may_be_full(root: bytes | None) -> None:
    """Those that are left out still run what they had."""
    affinity = Affinity(NAMES[:2], 1)
    for _ in range(9):
        affinity.begin(0, 0.0)
    affinity.begin(1, 0.0)
    affinity.refused(0, 0.0)
    assert affinity.choose(root, NOBODY, 0.1).index == 1


def test_no_pause_is_longer_than_the_longest() -> None:
    affinity = Affinity(NAMES, 8)
    for _ in range(5000):
        affinity.refused(0, 0.0)
    assert not affinity.is_left_out(0, LONGEST_PAUSE_SECONDS)
