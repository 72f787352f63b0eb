"""Several parts of a blob in one answer: `multipart/byteranges` (RFC 9110 section 14.6).

The boundary is the blob's own SHA-256: no bytes hold the hash of themselves that anybody could find, so
no part can end early; and every answer with the same parts is the same, so HEAD says its length.
"""

from collections.abc import Sequence

from coatcheck.protocol import Digest

from .ranges import Span


class Byteranges:
    """What stands around the parts, and how long all of it is."""

    def __init__(self, digest: Digest, size: int, media_type: str, spans: Sequence[Span]) -> None:
        """`media_type` is that of the blob, of `size` bytes; the parts are sent in this order."""
        self._boundary = digest.hex
        self._size = size
        self._media_type = media_type
        self._spans = spans

    @property
    def content_type(self) -> str:
        """The type of the whole answer."""
        return f"multipart/byteranges; boundary={self._boundary}"

    @property
    def length(self) -> int:
        """Bytes of the whole answer."""
        parts = sum(len(self.begin(span)) + span.stop - span.start for span in self._spans)
        return parts + len(self.end())

    def begin(self, span: Span) -> bytes:
        """Return what precedes the bytes of a part; the first begins with an empty preamble."""
        return (
            f"\r\n--{self._boundary}\r\n"
            f"Content-Type: {self._media_type}\r\n"
            f"Content-Range: {content_range(span, self._size)}\r\n\r\n"
        ).encode()

    def end(self) -> bytes:
        """Return what follows the last part."""
        return f"\r\n--{self._boundary}--\r\n".encode()


def content_range(span: Span, size: int) -> str:
    """Return the value of a Content-Range field (RFC 9110 section 14.4)."""
    return f"bytes {span.start}-{span.stop - 1}/{size}"
