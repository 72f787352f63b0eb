"""What reading an answer may take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """Bounds of one answer. What is beyond them passes, and has no name."""

    max_bytes: int = 32 * 1024 * 1024
    """Of a whole answer, which is held: several images of the largest size that models make."""

    max_stream_bytes: int = 64 * 1024 * 1024
    """Of a stream that is read, which bounds what is kept of it: images come in it over and over."""

    hold_bytes: int = 8 * 1024 * 1024
    """Of an event that is held until it is whole: clients do nothing with a part of one."""

    append_seconds: float = 5.0
    """How long an answer's end waits until it is kept; a store nearby takes milliseconds."""
