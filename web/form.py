"""The one file of a `multipart/form-data` body (RFC 7578), as a stream.

Everything that is not the file's content is paid from one budget: the preamble, part headers,
other fields, the epilogue. The content ends only after the whole body has been read and found
well formed, so whoever stores it commits nothing of a broken form.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from email.message import Message
from email.utils import collapse_rfc2231_value

from .errors import ProblemError, refuse

OVERHEAD_BYTES = 64 * 1024
"""What a form may carry besides its file: far more than any client's headers and fields."""

MAX_PARTS = 32
"""Parts of one form; an upload has one file and a few short fields."""

_boundary = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]").fullmatch


class FormFile:
    """The file of a form. `open` first, then iterate `content` once."""

    def __init__(
        self, body: AsyncIterator[bytes], content_type: str, *, file_field: str = "file"
    ) -> None:
        """Read a body with this Content-Type; whoever takes the content bounds it.

        The file is the part with a file's name, or the one of this field.

        Raises:
            ProblemError: 400 `form_malformed`, there is no usable boundary (RFC 2046 section
                5.1.1).
        """
        boundary = _parameter(content_type, "boundary")
        if boundary is None or not _boundary(boundary):
            raise _malformed("its Content-Type names no boundary")
        self._delimiter = b"\r\n--" + boundary.encode()
        self._body = body
        self._buffer = b"\r\n"  # the first delimiter may stand at the very start
        self._overhead = OVERHEAD_BYTES
        self._parts = 0
        self._file_field = file_field
        self._fields: list[tuple[str, str]] = []
        self.headers: Mapping[str, str] = {}
        """The file's own, their names in lower case."""

    @property
    def filename(self) -> str | None:
        """What the form calls the file; None where it has no name."""
        return _parameter(self.headers.get("content-disposition", ""), "filename")

    def field(self, name: str) -> str | None:
        """Return a field of those read so far; None where none has this name.

        Those before the file are read with `open`, those behind it when `content` has ended.

        Raises:
            ProblemError: 400 `form_field_repeated`, it is there more than once.
        """
        found = [value for key, value in self._fields if key == name]
        if len(found) > 1:
            raise refuse(
                400,
                "form_field_repeated",
                "Repeated field",
                f"the form has more than one field {name!r}",
                path=name,
            )
        return found[0] if found else None

    async def open(self) -> None:
        """Read up to the file's content; `headers` are then its own, lower-cased.

        Raises:
            ProblemError: 400 `form_malformed` or `form_without_file`; 413 `form_overhead_too_large`.
        """
        await self._skip(self._delimiter)
        while (headers := await self._next_headers()) is not None:
            if self._is_file(headers):
                self.headers = headers
                return
            await self._read_field(headers)
        raise refuse(400, "form_without_file", "No file in the form", "the form carries no file")

    async def content(self) -> AsyncGenerator[bytes, None]:
        """Yield the file, then check that the rest of the form is sound.

        Raises:
            ProblemError: 400 `form_malformed` or `form_with_files`, more than one file; 413
                `form_overhead_too_large`.
        """
        is_end = False
        while not is_end:
            piece, is_end = await self._take(self._delimiter)
            if piece:
                yield piece
        while (headers := await self._next_headers()) is not None:
            if self._is_file(headers):
                raise refuse(
                    400, "form_with_files", "Several files in the form", "send one file a request"
                )
            await self._read_field(headers)
        self._spend(len(self._buffer))
        async for chunk in self._body:
            self._spend(len(chunk))

    async def _next_headers(self) -> dict[str, str] | None:
        """Return the next part's headers, None after the last part."""
        while len(self._buffer) < 2:
            await self._more()
        if self._buffer[:2] == b"--":
            return None
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise _malformed(f"it has more than {MAX_PARTS} parts")
        return _headers(await self._skip(b"\r\n\r\n"))

    def _is_file(self, headers: Mapping[str, str]) -> bool:
        disposition = headers.get("content-disposition", "")
        return (
            _parameter(disposition, "filename") is not None
            or _parameter(disposition, "name") == self._file_field
        )

    async def _read_field(self, headers: Mapping[str, str]) -> None:
        value = await self._skip(self._delimiter)
        name = _parameter(headers.get("content-disposition", ""), "name")
        if name is not None:
            self._fields.append((name, value.decode("utf-8", "replace")))

    async def _skip(self, mark: bytes) -> bytes:
        """Pay for what comes before `mark`, take the mark, and return what came before it."""
        pieces: list[bytes] = []
        is_end = False
        while not is_end:
            piece, is_end = await self._take(mark)
            self._spend(len(piece))
            pieces.append(piece)
        return b"".join(pieces)

    async def _take(self, mark: bytes) -> tuple[bytes, bool]:
        """Return the next bytes before `mark`, and whether it was reached and taken.

        Linear in what passes: only the mark's length is looked at twice.
        """
        at = self._buffer.find(mark)
        if at >= 0:
            piece, self._buffer = self._buffer[:at], self._buffer[at + len(mark) :]
            return piece, True
        ready = max(0, len(self._buffer) - len(mark) + 1)
        piece, self._buffer = self._buffer[:ready], self._buffer[ready:]
        if not piece:
            await self._more()
        return piece, False

    async def _more(self) -> None:
        chunk = await anext(self._body, None)
        if chunk is None:
            raise _malformed("it ends before its last boundary")
        self._buffer += chunk

    def _spend(self, count: int) -> None:
        self._overhead -= count
        if self._overhead < 0:
            raise refuse(
                413,
                "form_overhead_too_large",
                "Too much beside the file",
                f"a form carries at most {OVERHEAD_BYTES} bytes beside its file",
                max_bytes=OVERHEAD_BYTES,
            )


class RelatedFile(FormFile):
    """The file of a `multipart/related` body (RFC 2387): its second part, which the first describes."""

    description: bytes = b""
    """The first part, as it is; read with `open`."""

    def _is_file(self, headers: Mapping[str, str]) -> bool:
        return self._parts > 1

    async def _read_field(self, headers: Mapping[str, str]) -> None:
        self.description = await self._skip(self._delimiter)


def is_form(content_type: str) -> bool:
    """True when a Content-Type is `multipart/form-data`."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def _headers(block: bytes) -> dict[str, str]:
    """Read header lines; the block begins with what followed the boundary on its line."""
    padding, *lines = block.split(b"\r\n")
    if padding.strip(b" \t"):
        raise _malformed("a line begins like the boundary and continues")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.decode("utf-8", "replace").partition(":")
        if not colon:
            raise _malformed("a part has a header line without a colon")
        headers[name.strip().lower()] = value.strip()
    if headers.get("content-transfer-encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
        raise _malformed("a part is encoded; send the bytes as they are (RFC 7578 section 4.7)")
    return headers


def _parameter(value: str, name: str) -> str | None:
    """Read a header parameter, quoted or extended (RFC 2231)."""
    message = Message()
    message["content-type"] = value.replace("\r", " ").replace("\n", " ")
    found = message.get_param(name)
    return collapse_rfc2231_value(found) if isinstance(found, tuple) else found


def _malformed(detail: str) -> ProblemError:
    return refuse(400, "form_malformed", "Malformed form", f"the form cannot be read: {detail}")
