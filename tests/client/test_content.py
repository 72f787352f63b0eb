"""Sources: read in pieces, named, and read again to be sent."""

import errno
import io
import os
import tempfile
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from PIL import Image

from coatcheck.client import InvalidArgumentError, LocalFileError
from coatcheck.client.content import HASH_PIECE_BYTES, SEND_PIECE_BYTES, Content, Source
from coatcheck.protocol import Digest

DATA = bytes(range(256)) * 40_000  # over two pieces to hash


class Watched(io.BytesIO):
    """A file that tells how much was read at once."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        assert size >= 0, "read without a bound"
        self.most = max(self.most, size)
        return super().read(size)


class Short(io.RawIOBase):
    """A raw file that gives few bytes at once, as pipes and sockets do, and cannot go back."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray, /) -> int:  # type: ignore[override]
        return self._file.readinto(memoryview(buffer)[:10_007])


def _named(source: Source) -> Content:
    content = Content.open(source)
    while content.hash_piece():
        pass
    return content


def _sent(content: Content) -> bytes:
    upload = content.upload(content.named, None)
    pieces = list(iter(upload.read_piece, b""))
    assert all(len(piece) <= SEND_PIECE_BYTES for piece in pieces)
    return b"".join(pieces)


def test_bytes_are_named_and_sent() -> None:
    content = _named(DATA)
    assert (content.named, content.size) == (Digest.of(DATA), len(DATA))
    assert content.image is None
    assert _sent(content) == DATA


def test_an_image_is_recognised_while_it_is_hashed() -> None:
    file = io.BytesIO()
    Image.new("RGB", (37, 21)).save(file, "PNG")
    image = _named(file.getvalue()).image
    assert image is not None
    assert (image.width, image.height, image.frames) == (37, 21, 1)


def test_a_content_can_be_sent_again() -> None:
    content = _named(DATA)
    assert _sent(content) == _sent(content)


def test_no_more_than_a_piece_is_read_at_once() -> None:
    file = Watched(DATA)
    assert _sent(_named(file)) == DATA
    assert file.most == HASH_PIECE_BYTES


@pytest.mark.parametrize("size", [1, SEND_PIECE_BYTES, SEND_PIECE_BYTES + 1, HASH_PIECE_BYTES])
def test_sizes_around_a_piece_come_whole(size: int) -> None:
    assert _sent(_named(DATA[:size])) == DATA[:size]


def test_a_file_that_cannot_be_read_twice_is_copied() -> None:
    file = cast("BinaryIO", Short(DATA))
    content = _named(file)
    assert content.named == Digest.of(DATA)
    assert _sent(content) == DATA
    content.close()
    assert not file.closed


def test_a_pipe_can_be_put() -> None:
    reading, writing = os.pipe()
    with open(writing, "wb") as pipe:
        pipe.write(b"a ticket")
    with open(reading, "rb") as pipe:
        content = _named(pipe)
        assert _sent(content) == b"a ticket"
        content.close()


def test_a_path_is_opened_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    content = _named(path)
    (tmp_path / "other").write_bytes(b"other")
    os.replace(tmp_path / "other", path)
    assert _sent(content) == DATA
    content.close()


def test_a_text_file_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="binary"):
        _named(cast("BinaryIO", io.StringIO("text")))


@pytest.mark.parametrize("source", [7, None, ["path"]])
def test_anything_else_is_refused(source: object) -> None:
    with pytest.raises(InvalidArgumentError, match=type(source).__name__):
        Content.open(cast("Source", source))


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalFileError):
        Content.open(tmp_path)


def test_a_file_that_the_caller_closes_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    with open(path, "rb") as file:
        content = _named(file)
        upload = content.upload(content.named, None)
    with pytest.raises(LocalFileError, match="closed"):
        upload.read_piece()


def test_close_may_be_called_twice(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    content = _named(path)
    content.close()
    content.close()
    with pytest.raises(LocalFileError):
        content.hash_piece()


def test_a_closed_file_is_refused() -> None:
    file = io.BytesIO(DATA)
    file.close()
    with pytest.raises(InvalidArgumentError, match="closed"):
        Content.open(file)


@pytest.mark.parametrize("path", ["no\0name", "\ud800"])
def test_a_path_that_no_file_can_have_is_refused(path: str) -> None:
    with pytest.raises(InvalidArgumentError, match="cannot be put"):
        Content.open(path)


def test_bytes_with_gaps_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="contiguous"):
        Content.open(memoryview(DATA)[::2])


def test_a_file_closed_before_it_is_sent_is_named(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    with open(path, "rb") as file:
        content = _named(file)
    with pytest.raises(LocalFileError, match="closed"):
        content.upload(content.named, None)


class FullFile(io.BytesIO):
    """A file on a disk without room, which shows when bytes are to be kept."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def close(self) -> None:
        if not self.closed:
            super().close()
            self.flush()


def test_a_full_temporary_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", FullFile)
    content = Content.open(cast("BinaryIO", Short(DATA)))
    with pytest.raises(LocalFileError, match="No space left"):
        content.hash_piece()
    content.close()
