"""Compressed request bodies, inflated within bounds.

What is decoded is bounded in bytes at every coding, in the window that a stream may ask for, and in
the members it may be cut into; so a bomb costs no more than an honest body of the largest size.
Decoders give pieces of a bounded size and never hold more.
"""

from collections.abc import Iterator, Sequence

from aiohttp import web

from .body import too_large
from .decoder import DECODERS, PIECE_BYTES, Decoder, malformed
from .errors import ProblemError, refuse

MAX_CODINGS = 3
"""Codings in a row: a proxy may add one to a client's."""

# Rests of a member are copied at its end, so input goes in slices: else a body of nothing but ends
# would cost its square.
_SLICE_BYTES = 4 * 1024


class Inflater:
    """Undoes codings, in the order in which Content-Encoding names them applied.

    Iterate over what `pieces` returns to its end before the next call.
    """

    def __init__(self, codings: Sequence[str], max_bytes: int) -> None:
        """`codings` are of `codings_of`; `max_bytes` bounds what each of them decodes to."""
        self._stages = [_Stage(DECODERS[coding](), max_bytes) for coding in reversed(codings)]

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes; yield what they decode to.

        Raises:
            ProblemError: 400 `encoding_malformed`; 413 `body_too_large`.
        """
        return _through(self._stages, data)

    def finish(self) -> None:
        """Say that no more will come.

        Raises:
            ProblemError: 400 `encoding_malformed`, something is missing.
        """
        if not all(stage.is_whole for stage in self._stages):
            raise malformed("the compressed body ends too early")


def codings_of(request: web.Request) -> tuple[str, ...]:
    """Return a request's content codings, in the order in which they were applied.

    Raises:
        ProblemError: 415 `content_encoding_unsupported`.
    """
    return parse_codings(",".join(request.headers.getall("Content-Encoding", ())))


def parse_codings(field: str) -> tuple[str, ...]:
    """Return the content codings that the text of a Content-Encoding names.

    Raises:
        ProblemError: 415 `content_encoding_unsupported`.
    """
    names = [name.strip().lower() for name in field.split(",")]
    codings = tuple(name for name in names if name not in ("", "identity"))
    if len(codings) > MAX_CODINGS or any(coding not in DECODERS for coding in codings):
        raise refuse(
            415,
            "content_encoding_unsupported",
            "Unsupported content encoding",
            f"one of {', '.join(DECODERS)} is understood, and at most {MAX_CODINGS} in a row",
        )
    return codings


def inflate(data: bytes, codings: Sequence[str], max_bytes: int) -> bytes:
    """Return a whole body, decoded. It takes a millisecond for some megabytes: call it in a thread.

    Raises:
        ProblemError: 400 `encoding_malformed`; 413 `body_too_large`.
    """
    inflater = Inflater(codings, max_bytes)
    whole = b"".join(inflater.pieces(data))
    inflater.finish()
    return whole


def inflate_head(data: bytes, codings: Sequence[str], max_bytes: int) -> bytes:
    """Return what the beginning of a body decodes to: at most `max_bytes`, and as far as it goes."""
    head = bytearray()
    try:
        # Decoders give whole pieces, and what precedes the last coding may be the longer text.
        limit = 4 * max(max_bytes, PIECE_BYTES)
        for piece in Inflater(codings, limit).pieces(data):
            head += piece
            if len(head) >= max_bytes:
                break
    except ProblemError:
        pass
    return bytes(head[:max_bytes])


class _Stage:
    """A decoder and how much it may decode."""

    def __init__(self, decoder: Decoder, max_bytes: int) -> None:
        self._decoder = decoder
        self._max_bytes = max_bytes
        self._count = 0
        self._is_begun = False

    @property
    def is_whole(self) -> bool:
        """Whether the bytes may end here. A body of no bytes needs no decoding."""
        return not self._is_begun or self._decoder.is_whole

    def pieces(self, data: bytes) -> Iterator[bytes]:
        self._is_begun = self._is_begun or bool(data)
        for start in range(0, len(data), _SLICE_BYTES):
            for piece in self._decoder.pieces(data[start : start + _SLICE_BYTES]):
                self._count += len(piece)
                if self._count > self._max_bytes:
                    raise too_large(self._max_bytes)
                yield piece


def _through(stages: Sequence[_Stage], data: bytes) -> Iterator[bytes]:
    if not stages:
        yield data
        return
    for piece in stages[0].pieces(data):
        yield from _through(stages[1:], piece)
