"""What is put: bytes that are read twice, once to name them and once to send them.

1. Never more than a piece is held, unless the caller passed the bytes themselves.
2. The last piece is not handed out before everything sent has the digest that was promised, so a
   file that changes in between never becomes a whole upload.
3. A path is opened once: a file that is renamed over it in between does not matter.
"""

import contextlib
import hashlib
import io
import os
import tempfile
import threading
from collections.abc import Callable
from typing import BinaryIO, TypeAlias, cast

from PIL import Image

from coatcheck.protocol import Digest, ImageInfo, ImageParser

from .errors import FileChangedError, InvalidArgumentError, LocalFileError
from .picture import encode_picture

Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | Image.Image
"""A path, bytes, a binary file (from where it stands), or a Pillow image."""

Progress: TypeAlias = Callable[[int, int], None]
"""Is told the bytes sent or received so far, and the bytes in total."""

HASH_PIECE_BYTES = 4 * 1024 * 1024  # some 3 ms of SHA-256: what a thread hop should be worth
SEND_PIECE_BYTES = 256 * 1024


class Content:
    """One blob's bytes. Owns the file it opened, not one that the caller passed.

    `hash_piece` is called until it says there is no more; then `named`, `size` and `head` are
    known and `upload` may be called, any number of times, one after the other. `close` may be
    called twice and at any time, also while another thread reads.
    """

    def __init__(self, file: BinaryIO, *, is_owned: bool) -> None:
        self.size = 0
        self._parser = ImageParser()
        self._lock = threading.Lock()
        self._sha256 = hashlib.sha256()
        self._file = file
        self._owned: list[BinaryIO] = [file] if is_owned else []
        self._start = 0
        self._spool: BinaryIO | None = None  # the copy of a file that cannot be read twice
        if file.seekable():
            self._start = file.tell()
        else:
            self._spool = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
            self._owned.append(self._spool)

    @classmethod
    def open(cls, source: Source) -> "Content":
        """Open what the caller passed.

        Raises:
            LocalFileError: it cannot be opened.
            InvalidArgumentError: it is nothing that can be put, a closed file included.
        """
        try:
            return cls._open(source)
        except OSError as error:
            raise LocalFileError(f"cannot open what is to be put: {error}") from error
        except InvalidArgumentError:
            raise
        except (ValueError, BufferError) as error:  # also a path that no file can have
            raise InvalidArgumentError(f"this cannot be put: {error}") from error

    @classmethod
    def _open(cls, source: Source) -> "Content":
        if isinstance(source, str | os.PathLike):
            return cls(open(source, "rb"), is_owned=True)
        if isinstance(source, bytes | bytearray | memoryview):
            return cls(io.BytesIO(source), is_owned=True)
        if isinstance(source, Image.Image):
            return cls(encode_picture(source), is_owned=True)
        if hasattr(source, "read") and hasattr(source, "seekable"):
            return cls(source, is_owned=False)
        raise InvalidArgumentError(
            f"a path, bytes, a binary file or a Pillow image can be put, not {type(source).__name__}"
        )

    def hash_piece(self) -> bool:
        """Read and hash the next piece; say whether there was one.

        Raises:
            LocalFileError: it cannot be read, or the temporary copy of it not written.
            InvalidArgumentError: it is a text file, or there are no bytes at all.
        """
        with self._lock:
            piece = self._read(HASH_PIECE_BYTES)
            if not piece:
                self._finish_hashing()
                return False
            self._parser.feed(piece)
            self.size += len(piece)
            self._sha256.update(piece)
            if self._spool:
                self._copy(piece, self._spool)
            return True

    @property
    def named(self) -> Digest:
        """The digest of all that was hashed."""
        return Digest.from_raw(self._sha256.digest())

    @property
    def image(self) -> ImageInfo | None:
        """What its header says, where all that was hashed is an image."""
        return self._parser.info()

    def upload(self, promised: Digest, progress: Progress | None) -> "Upload":
        """Begin to read a second time, to send.

        Raises:
            LocalFileError: the file cannot go back to where it stood.
        """
        with self._lock:
            try:
                self._file.seek(self._start)
            except (OSError, ValueError) as error:  # ValueError: the caller closed the file
                raise LocalFileError(f"cannot read again what is to be put: {error}") from error
        return Upload(self._read_locked, self.size, promised, progress)

    def close(self) -> None:
        """Close what this opened."""
        with self._lock:
            while self._owned:
                with contextlib.suppress(OSError):  # a copy's last bytes, thrown away with it
                    self._owned.pop().close()

    def _finish_hashing(self) -> None:
        if not self.size:
            raise InvalidArgumentError("there are no bytes to put: a blob is never empty")
        if self._spool:
            self._file, self._spool = self._spool, None

    def _copy(self, piece: bytes, spool: BinaryIO) -> None:
        """Write a piece through to the disk, where a lack of room shows."""
        try:
            spool.write(piece)
            spool.flush()
        except (OSError, ValueError) as error:  # ValueError: `close` was called meanwhile
            raise LocalFileError(f"cannot copy what is to be put: {error}") from error

    def _read_locked(self, count: int) -> bytes:
        with self._lock:
            return self._read(count)

    def _read(self, count: int) -> bytes:
        try:
            piece = cast("object", self._file.read(count))  # a text file's is another
        except (OSError, ValueError) as error:  # ValueError: the caller closed the file
            raise LocalFileError(f"cannot read what is to be put: {error}") from error
        if not isinstance(piece, bytes):
            raise InvalidArgumentError("a file to put is opened in binary mode, and blocking")
        return piece


class Upload:
    """A content on its way, as a driver sends it."""

    def __init__(
        self,
        read: Callable[[int], bytes],
        size: int,
        promised: Digest,
        progress: Progress | None,
    ) -> None:
        self.size = size
        self._read = read
        self._promised = promised
        self._progress = progress
        self._sha256 = hashlib.sha256()
        self._taken = 0
        self._sent = 0

    def read_piece(self) -> bytes:
        """Return the next piece, the last one only once all of them have the promised digest.

        Raises:
            FileChangedError: they do not, or there are fewer or more bytes.
            LocalFileError: the file cannot be read.
        """
        left = self.size - self._taken
        piece = self._read(min(SEND_PIECE_BYTES, left)) if left else b""
        if left and not piece:
            raise FileChangedError(f"what was put lost {left} bytes while it was being sent")
        self._taken += len(piece)
        self._sha256.update(piece)
        if piece and self._taken == self.size:
            self._check_whole()
        return piece

    def sent(self, count: int) -> None:
        """Count bytes that were handed to the connection, and tell the caller."""
        self._sent += count
        if self._progress:
            self._progress(self._sent, self.size)

    def _check_whole(self) -> None:
        if self._read(1):
            raise FileChangedError("what was put grew while it was being sent")
        if self._sha256.digest() != self._promised.raw:
            raise FileChangedError("what was put changed between hashing and sending")
