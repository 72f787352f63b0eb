"""What reading an answer may take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AnswerLimits:
    """Bounds of one answer. What is beyond them passes, and has no name."""

    max_bytes: int = 32 * 1024 * 1024
    """Of a whole answer, or one event, that is held: an image of the largest size that models make.
    Clients do nothing with a part of either."""

    max_stream_bytes: int = 64 * 1024 * 1024
    """Of a stream that is read, which bounds what is kept of it: images come in it over and over."""

    max_values: int = 1_000_000
    """JSON values of what is parsed at once: each takes up to 250 bytes, and parsing lists of a few bytes
    lets no other thread in between. Of a stream it is four times as many in all."""

    append_seconds: float = 5.0
    """How long an answer waits until it is kept, and an image for its ref; a store nearby takes
    milliseconds."""
