"""Server-sent events, read and written in time linear in their length (WHATWG HTML 9.2).

The reader never rescans what it has seen: a line that comes in a thousand pieces costs the same
as one that comes whole.
"""

from dataclasses import dataclass

from .buffer import Buffer
from .errors import SseError

DEFAULT_MAX_EVENT_BYTES = 64 * 1024 * 1024
_MARK = b"\xef\xbb\xbf"
_BLANK_LINES = (b"\n\n", b"\r\n\r\n", b"\r\r")


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One dispatched event. `event` is "message" when the stream names none."""

    data: str
    event: str = "message"
    id: str | None = None


class SseReader:
    """Turns bytes, cut anywhere, into events.

    An event that the stream does not finish with a blank line is never dispatched. Comments and
    `retry` are skipped.
    """

    def __init__(self, max_event_bytes: int = DEFAULT_MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._line: list[bytes] = []  # pieces of a line that has not ended
        self._line_bytes = 0
        self._after_cr = False
        self._at_start = True
        self._data: list[str] = []
        self._data_bytes = 0
        self._event = ""
        self._id: str | None = None

    def feed(self, data: Buffer) -> list[SseEvent]:
        """Take the next bytes; return the events that they complete.

        Raises:
            SseError: a line, or the data of one event, is over `max_event_bytes`.
        """
        events: list[SseEvent] = []
        for line in self._lines(bytes(data)):
            if event := self._take(line):
                events.append(event)
        return events

    def _lines(self, data: bytes) -> list[bytes]:
        """Cut complete lines; LF, CR and CRLF end one."""
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if not data:
            return []
        self._after_cr = data.endswith(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *ended, rest = data.split(b"\n")
        if ended:
            ended[0] = b"".join([*self._line, ended[0]])
            self._line, self._line_bytes = [], 0
        if rest:
            self._line.append(rest)
            self._line_bytes += len(rest)
        longest = max(self._line_bytes, *(len(line) for line in ended), 0)
        if longest > self._max_event_bytes:
            raise SseError(f"a line of over {self._max_event_bytes} bytes")
        return ended

    def _take(self, line: bytes) -> SseEvent | None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_MARK)
        if not line:
            return self._dispatch()
        name, _, raw = line.partition(b":")
        value = raw.removeprefix(b" ")
        if name == b"data":
            self._data_bytes += len(value)
            if self._data_bytes > self._max_event_bytes:
                raise SseError(f"an event of over {self._max_event_bytes} bytes")
            self._data.append(value.decode("utf-8", "replace"))
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        return None

    def _dispatch(self) -> SseEvent | None:
        data, event = self._data, self._event
        self._data, self._data_bytes, self._event = [], 0, ""
        if not data:
            return None
        return SseEvent("\n".join(data), event or "message", self._id)


def write_event(data: str, event: str | None = None) -> bytes:
    """Write one event; line breaks in `data` become several `data` lines."""
    name = f"event: {event}\n" if event else ""
    lines = data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return (name + "".join(f"data: {line}\n" for line in lines) + "\n").encode()


def write_comment(text: str) -> bytes:
    """Write a comment, which readers skip.

    Raises:
        SseError: the text has a line break, which would end the comment.
    """
    if "\n" in text or "\r" in text:
        raise SseError("a comment has one line")
    return f": {text}\n\n".encode()


def event_end(data: Buffer, start: int = 0) -> int:
    """Return the offset just after the last complete event in `data`, 0 when it completes none.

    Looks for a blank line in its three spellings, from `start` on; linear.
    """
    text = bytes(data[start:])
    found = ((text.rfind(mark), len(mark)) for mark in _BLANK_LINES)
    return max((start + at + length for at, length in found if at >= 0), default=0)


def last_event_start(data: bytes) -> int:
    """Return the offset at which the last of some whole events begins; linear.

    The mark that a stream may begin with (U+FEFF) is no part of an event.
    """
    return event_end(data.rstrip(b"\r\n")) or (len(_MARK) if data.startswith(_MARK) else 0)


def split_events(data: bytes) -> list[bytes]:
    """Cut bytes behind each event that they complete; joined, the pieces are the bytes. Linear."""
    ends = {mark: _end_of(mark, data, 0) for mark in _BLANK_LINES}
    pieces: list[bytes] = []
    start = 0
    while (end := min(ends.values())) <= len(data):
        pieces.append(data[start:end])
        start = end
        # Each mark is looked for from where it was found last, so no byte is looked at twice for one.
        ends = {mark: at if at > start else _end_of(mark, data, start) for mark, at in ends.items()}
    return [*pieces, data[start:]]


def _end_of(mark: bytes, data: bytes, start: int) -> int:
    """Return where the next mark ends; behind all of the data where there is none."""
    at = data.find(mark, start)
    return at + len(mark) if at >= 0 else len(data) + 1


def replace_data(event: bytes, data: bytes) -> bytes:
    """Return a whole event with other data, of one line; its other lines stay."""
    kept = [line for line in event.splitlines() if line and not _is_data(line)]
    return b"".join(line + b"\n" for line in [*kept, b"data: " + data]) + b"\n"


def _is_data(line: bytes) -> bool:
    return line == b"data" or line.startswith(b"data:")
