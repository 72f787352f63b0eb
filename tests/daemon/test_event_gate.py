"""Bytes pass unchanged; a break never ends inside an event that the client would read."""

import time

from hypothesis import given
from hypothesis import strategies as st

from coatcheck.daemon.event_gate import EventGate

_pieces = st.lists(
    st.sampled_from([b"data: a", b"\n", b"\n\n", b"\r\n\r\n", b"\r", b"x" * 50, b": c"]),
    max_size=30,
)


@given(_pieces, st.integers(4, 60))
def test_every_byte_passes_in_order(pieces: list[bytes], hold: int) -> None:
    gate = EventGate(hold)
    passed = [gate.feed(piece) for piece in pieces]
    assert b"".join(passed) + gate.finish() == b"".join(pieces)


@given(_pieces)
def test_what_passed_before_a_break_is_whole_events(pieces: list[bytes]) -> None:
    gate = EventGate(10_000)
    passed = b"".join(gate.feed(piece) for piece in pieces)
    assert passed == b"" or passed.endswith((b"\n\n", b"\r\n\r\n", b"\r\r", b"\n"))
    assert gate.break_off(b"data: error\n\n") == b"data: error\n\n"


def test_a_partly_passed_event_is_ended_before_the_error() -> None:
    gate = EventGate(8)
    assert gate.feed(b"data: 0123456789") == b"data: 0123456"
    assert gate.break_off(b"data: error\n\n") == b"789\n\ndata: error\n\n"


def test_an_event_passes_as_soon_as_it_is_whole() -> None:
    gate = EventGate()
    assert gate.feed(b"data: a\n\ndata:") == b"data: a\n\n"
    assert gate.feed(b" b\n") == b""
    assert gate.feed(b"\n") == b"data: b\n\n"


def test_a_line_of_50_mb_is_linear() -> None:
    def seconds(megabytes: int) -> float:
        gate, piece, passed = EventGate(), b"x" * 4096, 0
        start = time.thread_time()
        for _ in range(megabytes * 256):
            passed += len(gate.feed(piece))
        assert passed + len(gate.finish()) == megabytes << 20
        return time.thread_time() - start

    assert seconds(50) < 10 * 4 * max(seconds(5), 0.01)  # linear is 10, quadratic 100
