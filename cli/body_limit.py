"""Where a request's body passes a reverse proxy's limit.

A `BodyLimit` follows the bytes that a client sends on one HTTP/1.1 connection, request after
request, and lets through what a proxy with nginx's `client_max_body_size` would: a request whose
Content-Length is over the limit is refused at its head, none of it passes; a chunked one is
refused at the chunk that passes the limit (RFC 9112 sections 6 and 7.1). It only decides; the
proxy moves the bytes and answers.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

from .errors import RefusedRequestError

__all__ = ["BodyLimit"]

_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_LINE_BYTES: Final = 4 * 1024
_HEAD_END = b"\r\n\r\n"
_LINE_END = b"\r\n"


class BodyLimit:
    """The limit on one connection; holds at most one request head and one chunk line."""

    def __init__(self, max_body_bytes: int, *, exempt_prefixes: Sequence[str] = ()) -> None:
        """Refuse bodies over `max_body_bytes`, but not on paths that begin with an exempt prefix."""
        self._max_body_bytes = max_body_bytes
        self._exempt = tuple(prefix.encode("ascii") for prefix in exempt_prefixes)
        self._pending = bytearray()
        self._body_left = 0
        self._chunked_bytes = 0
        self._bounded = True
        self._step: Callable[[], bytes | None] = self._head

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes from the client and return those that may pass on now.

        Raises:
            RefusedRequestError: the body is over the limit (413) or the request cannot be
                followed (400). Nothing may pass on this connection afterwards.
        """
        self._pending += data
        passed: list[bytes] = []
        while self._pending and (part := self._step()) is not None:
            passed.append(part)
        return b"".join(passed)

    def _head(self) -> bytes | None:
        head = self._take_until(_HEAD_END, _MAX_HEAD_BYTES)
        if head is None:
            return None
        request_line, *fields = head[: -len(_HEAD_END)].split(_LINE_END)
        self._bounded = not self._is_exempt(request_line)
        if _is_chunked(fields):
            self._chunked_bytes = 0
            self._step = self._chunk_line
        elif length := _content_length(fields):
            if self._bounded and length > self._max_body_bytes:
                raise RefusedRequestError(413)
            self._body_left = length
            self._step = self._body
        return head

    def _body(self) -> bytes:
        part = self._take(self._body_left)
        self._body_left -= len(part)
        if not self._body_left:
            self._step = self._head
        return part

    def _chunk_line(self) -> bytes | None:
        line = self._take_until(_LINE_END, _MAX_LINE_BYTES)
        if line is None:
            return None
        size = re.match(rb"[0-9a-fA-F]{1,15}(?=[;\s])", line)
        if size is None:
            raise RefusedRequestError(400)
        chunk_bytes = int(size[0], 16)
        self._chunked_bytes += chunk_bytes
        if self._bounded and self._chunked_bytes > self._max_body_bytes:
            raise RefusedRequestError(413)
        self._body_left = chunk_bytes + len(_LINE_END)
        self._step = self._chunk if chunk_bytes else self._trailer_line
        return line

    def _chunk(self) -> bytes:
        part = self._body()
        if not self._body_left:
            self._step = self._chunk_line
        return part

    def _trailer_line(self) -> bytes | None:
        line = self._take_until(_LINE_END, _MAX_LINE_BYTES)
        if line == _LINE_END:
            self._step = self._head
        return line

    def _take(self, size: int) -> bytes:
        part = bytes(self._pending[:size])
        del self._pending[:size]
        return part

    def _take_until(self, end: bytes, max_bytes: int) -> bytes | None:
        found = self._pending.find(end)
        if found < 0:
            if len(self._pending) > max_bytes:
                raise RefusedRequestError(400)
            return None
        return self._take(found + len(end))

    def _is_exempt(self, request_line: bytes) -> bool:
        _, _, rest = request_line.partition(b" ")
        return bool(self._exempt) and rest.startswith(self._exempt)


def _is_chunked(fields: Sequence[bytes]) -> bool:
    return any(
        value.lower().endswith(b"chunked") for value in _values(fields, b"transfer-encoding")
    )


def _content_length(fields: Sequence[bytes]) -> int:
    lengths = _values(fields, b"content-length")
    if not lengths:
        return 0
    if len(set(lengths)) > 1 or not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
        raise RefusedRequestError(400)
    return int(lengths[0])


def _values(fields: Sequence[bytes], name: bytes) -> list[bytes]:
    parted = (field.partition(b":") for field in fields)
    return [value.strip() for key, _, value in parted if key.strip().lower() == name]
