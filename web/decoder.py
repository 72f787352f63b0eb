"""Decoders of content codings, each in pieces of a bounded size.

Bounded too are the window that a stream may ask for and the members it may be cut into.
"""

import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Protocol

from .brotli_stream import BROTLI_ERROR, open_brotli
from .errors import ProblemError, refuse

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE_BYTES = 64 * 1024
"""About as much is decoded at once; Brotli may go over it by a half."""
_MAX_MEMBERS = 1024  # gzip and zstd may be concatenated; parallel compressors cut at a megabyte
# RFC 9659 section 3: the content coding zstd has a window of at most 8 MiB.
_ZSTD_WINDOW_LOG = 23


class Decoder(Protocol):
    """Decodes one coding. Iterate over what `pieces` returns to its end before the next call."""

    @property
    def is_whole(self) -> bool:
        """Whether the bytes may end here."""
        ...

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes; yield what they decode to.

        Raises:
            ProblemError: 400 `encoding_malformed`.
        """
        ...


class _ZlibStream(Protocol):
    """What `zlib.decompressobj` returns, whose type has no public name."""

    @property
    def eof(self) -> bool: ...

    @property
    def unconsumed_tail(self) -> bytes: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


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
            raise malformed("something follows the compressed body")
        yield from _zlib_pieces(self._stream, data)
        if self._stream.unused_data:
            raise malformed("something follows the compressed body")


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
            raise malformed("the body is not Brotli") from error


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


DECODERS: Mapping[str, Callable[[], Decoder]] = MappingProxyType(
    {"gzip": _Gzip, "x-gzip": _Gzip, "deflate": _Deflate, "br": _Brotli, "zstd": _Zstd}
)
"""By the names that Content-Encoding has for them."""


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
        raise malformed("the compressed body cannot be decoded") from error


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
        raise malformed("the body is not zstd, or of too large a window") from error


def _deflate_bits(head: bytes) -> int:
    """Return zlib's window bits: the first two bytes of its format have a check (RFC 1950)."""
    is_zlib = head[0] & 0x0F == 8 and int.from_bytes(head[:2], "big") % 31 == 0
    return zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS


def _count_member(count: int) -> int:
    if count >= _MAX_MEMBERS:
        raise malformed(f"the compressed body has more than {_MAX_MEMBERS} members")
    return count + 1


def malformed(detail: str) -> ProblemError:
    """Return the refusal of a body that is not what its coding says."""
    return refuse(400, "encoding_malformed", "Malformed content encoding", detail)
