"""Compressed request bodies, inflated within bounds.

What is decoded is bounded in bytes at every coding, in the window that a stream may ask for, and in
the members it may be cut into; so a bomb costs no more than an honest body of the largest size.
Decoders give pieces of a bounded size and never hold more.
"""

import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from aiohttp import web

from .body import too_large
from .brotli_stream import BROTLI_ERROR, open_brotli
from .errors import ProblemError, refuse

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE_BYTES = 64 * 1024
"""About as much is decoded at once; Brotli may go over it by a half."""
MAX_CODINGS = 3
"""Codings in a row: a proxy may add one to a client's."""

# Rests of a member are copied at its end, so input goes in slices: else a body of nothing but ends
# would cost its square.
_SLICE_BYTES = 4 * 1024
_MAX_MEMBERS = 1024  # gzip and zstd may be concatenated; parallel compressors cut at a megabyte
# RFC 9659 section 3: the content coding zstd has a window of at most 8 MiB.
_ZSTD_WINDOW_LOG = 23


class _Decoder(Protocol):
    """Decodes one coding. `is_whole` says whether the bytes may end here."""

    @property
    def is_whole(self) -> bool: ...

    def pieces(self, data: bytes) -> Iterator[bytes]: ...


class _ZlibStream(Protocol):
    """What `zlib.decompressobj` returns, whose type has no public name."""

    @property
    def eof(self) -> bool: ...

    @property
    def unconsumed_tail(self) -> bytes: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class Inflater:
    """Undoes codings, in the order in which Content-Encoding names them applied.

    Iterate over what `pieces` returns to its end before the next call.
    """

    def __init__(self, codings: Sequence[str], max_bytes: int) -> None:
        """`codings` are of `codings_of`; `max_bytes` bounds what each of them decodes to."""
        self._stages = [_Stage(_DECODERS[coding](), max_bytes) for coding in reversed(codings)]

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
            raise _malformed("the compressed body ends too early")


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
    if len(codings) > MAX_CODINGS or any(coding not in _DECODERS for coding in codings):
        raise refuse(
            415,
            "content_encoding_unsupported",
            "Unsupported content encoding",
            f"one of {', '.join(_DECODERS)} is understood, and at most {MAX_CODINGS} in a row",
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

    def __init__(self, decoder: _Decoder, max_bytes: int) -> None:
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


class _Gzip:
    """RFC 1952: members in a row."""

    def __init__(self) -> None:
        self._member: _ZlibStream | None = None
        self._members = 0

    @property
    def is_whole(self) -> bool:
        return self._member is None

    def pieces(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member is None:
                self._members = _count_member(self._members)
                self._member = zlib.decompressobj(16 + zlib.MAX_WBITS)
            yield from _zlib_pieces(self._member, data)
            if not self._member.eof:
                return
            data = self._member.unused_data
            self._member = None


class _Deflate:
    """The zlib format (RFC 1950), or bare deflate (RFC 1951), which many send by that name."""

    def __init__(self) -> None:
        self._head = b""
        self._stream: _ZlibStream | None = None

    @property
    def is_whole(self) -> bool:
        return self._stream is not None and self._stream.eof

    def pieces(self, data: bytes) -> Iterator[bytes]:
        if self._stream is None:
            data = self._head = self._head + data
            if len(data) < 2:
                return
            self._stream = zlib.decompressobj(_deflate_bits(data))
        elif self._stream.eof:
            raise _malformed("something follows the compressed body")
        yield from _zlib_pieces(self._stream, data)
        if self._stream.unused_data:
            raise _malformed("something follows the compressed body")


class _Brotli:
    """RFC 7932. Its window is at most 16 MiB by its format."""

    def __init__(self) -> None:
        self._stream = open_brotli()

    @property
    def is_whole(self) -> bool:
        return self._stream.is_finished()

    def pieces(self, data: bytes) -> Iterator[bytes]:
        try:
            while True:
                piece = self._stream.process(data, PIECE_BYTES)
                if piece:
                    yield piece
                # It may have taken all it was given and still owe some of what that decodes to.
                if len(piece) < PIECE_BYTES and self._stream.can_accept_more_data():
                    return
                data = b""
        except BROTLI_ERROR as error:
            raise _malformed("the body is not Brotli") from error


class _Zstd:
    """RFC 8878: frames in a row, within the window that HTTP allows."""

    def __init__(self) -> None:
        self._frame: zstd.ZstdDecompressor | None = None
        self._frames = 0

    @property
    def is_whole(self) -> bool:
        return self._frame is None

    def pieces(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._frame is None:
                self._frames = _count_member(self._frames)
                self._frame = _open_zstd()
            yield from _zstd_pieces(self._frame, data)
            if not self._frame.eof:
                return
            data = self._frame.unused_data
            self._frame = None


_DECODERS: Mapping[str, Callable[[], _Decoder]] = MappingProxyType(
    {"gzip": _Gzip, "x-gzip": _Gzip, "deflate": _Deflate, "br": _Brotli, "zstd": _Zstd}
)


def _open_zstd() -> zstd.ZstdDecompressor:
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
    return zstd.ZstdDecompressor(options=options)


def _zlib_pieces(stream: _ZlibStream, data: bytes) -> Iterator[bytes]:
    try:
        while True:
            piece = stream.decompress(data, PIECE_BYTES)
            if piece:
                yield piece
            data = stream.unconsumed_tail
            if stream.eof or (not data and len(piece) < PIECE_BYTES):
                return
    except zlib.error as error:
        raise _malformed("the compressed body cannot be decoded") from error


def _zstd_pieces(frame: zstd.ZstdDecompressor, data: bytes) -> Iterator[bytes]:
    try:
        while True:
            piece = frame.decompress(data, PIECE_BYTES)
            if piece:
                yield piece
            if frame.eof or frame.needs_input:
                return
            data = b""
    except zstd.ZstdError as error:
        raise _malformed("the body is not zstd, or of too large a window") from error


def _deflate_bits(head: bytes) -> int:
    """Return zlib's window bits: the first two bytes of its format have a check (RFC 1950)."""
    is_zlib = head[0] & 0x0F == 8 and int.from_bytes(head[:2], "big") % 31 == 0
    return zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS


def _count_member(count: int) -> int:
    if count >= _MAX_MEMBERS:
        raise _malformed(f"the compressed body has more than {_MAX_MEMBERS} members")
    return count + 1


def _malformed(detail: str) -> ProblemError:
    return refuse(400, "encoding_malformed", "Malformed content encoding", detail)
