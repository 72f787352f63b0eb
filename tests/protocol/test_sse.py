"""Events are written, read and found in time linear in their length."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coatcheck.protocol import (
    SseError,
    SseReader,
    event_end,
    last_event_start,
    replace_data,
    split_events,
    write_comment,
    write_event,
)

_lines = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\n\0"))


@given(st.lists(_lines, min_size=1), st.integers(1, 7))
def test_what_is_written_reads_back(lines: list[str], step: int) -> None:
    data = "\n".join(lines)
    stream = write_comment("x") + write_event(data, "kind")
    reader = SseReader()
    events = [
        event for at in range(0, len(stream), step) for event in reader.feed(stream[at : at + step])
    ]
    assert [(event.event, event.data) for event in events] == [("kind", data)]


def test_a_comment_with_a_line_break_is_refused() -> None:
    with pytest.raises(SseError):
        write_comment("a\nb")


def test_an_event_over_the_limit_is_refused() -> None:
    reader = SseReader(max_event_bytes=10)
    with pytest.raises(SseError):
        reader.feed(b"data: " + b"x" * 20)
    reader = SseReader(max_event_bytes=10)
    with pytest.raises(SseError):
        reader.feed(b"data: 123456\ndata: 123456\n\n")


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"", 0),
        (b"data: a\n", 0),
        (b"data: a\n\n", 9),
        (b"data: a\n\ndata: b\n\nda", 18),
        (b"data: a\r\n\r\nd", 11),
        (b"data: a\r\rd", 9),
    ],
)
def test_the_end_of_the_last_event(data: bytes, end: int) -> None:
    assert event_end(data) == end


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_events_are_cut_and_found(end: bytes) -> None:
    events = [b"data: a" + end, b": b" + end, b"event: x" + end[: len(end) // 2] + b"data: c" + end]
    data = b"".join(events)
    assert split_events(data) == [*events, b""]
    assert split_events(data + b"da") == [*events, b"da"]
    assert last_event_start(data) == len(events[0] + events[1])
    assert last_event_start(events[0]) == 0


@given(st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b"data: a", b": b"]), max_size=20))
def test_pieces_joined_are_the_bytes_and_hold_an_event_each(parts: list[bytes]) -> None:
    data = b"".join(parts)
    pieces = split_events(data)
    assert b"".join(pieces) == data
    reader = SseReader()
    assert [event for piece in pieces for event in reader.feed(piece)] == SseReader().feed(data)


def test_the_data_of_an_event_is_replaced_and_its_other_lines_stay() -> None:
    event = b": hi\nid: 7\nevent: x\ndata: a\ndata: b\ndatabase: c\n\n"
    assert replace_data(event, b"{}") == b": hi\nid: 7\nevent: x\ndatabase: c\ndata: {}\n\n"
    assert replace_data(b"data:a\r\n\r\n", b"{}") == b"data: {}\n\n"


def test_a_line_of_50_mb_in_small_pieces_is_linear() -> None:
    def seconds(megabytes: int) -> float:
        piece = b"x" * 8192
        reader = SseReader()
        start = time.thread_time()
        reader.feed(b"data: ")
        for _ in range(megabytes * 128):
            reader.feed(piece)
        (event,) = reader.feed(b"\n\n")
        assert len(event.data) == megabytes << 20
        return time.thread_time() - start

    # Linear is 10, quadratic 100; the best of three, for fresh pages cost what they like.
    assert min(seconds(50) for _ in range(3)) < 10 * 4 * max(seconds(5), 0.01)


def test_nothing_goes_before_the_mark_that_a_stream_begins_with() -> None:
    """A reader drops U+FEFF at the very beginning alone; behind a comment it spoils the first event."""
    event = "\ufeff".encode() + write_event("only")
    at = last_event_start(event)
    stream = event[:at] + write_comment("between") + event[at:]
    assert [each.data for each in SseReader().feed(stream)] == ["only"]
