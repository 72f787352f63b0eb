"""Downloads: verified on the way, and at a path whole or not at all."""

import io
import os
import shutil
from pathlib import Path
from typing import BinaryIO, cast

import pytest

from coatcheck.client import DigestMismatchError, InvalidArgumentError, LocalFileError
from coatcheck.client.destination import target
from coatcheck.client.download import Download
from coatcheck.protocol import Digest

DATA = b"a ticket for a coat"
DIGEST = Digest.of(DATA)


def test_a_file_appears_when_it_is_committed(tmp_path: Path) -> None:
    path = tmp_path / "target"
    download = Download(DIGEST, None, target(path))
    download.begin(len(DATA))
    download.write(DATA[:5])
    download.write(DATA[5:])
    assert not path.exists()
    assert download.commit() == b""
    download.close()
    assert path.read_bytes() == DATA


def test_it_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"")
    download = Download(DIGEST, None, target(tmp_path / "target"))
    download.begin(None)
    download.write(DATA)
    download.commit()
    assert (tmp_path / "target").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_what_is_not_committed_is_removed(tmp_path: Path) -> None:
    download = Download(DIGEST, None, target(tmp_path / "target"))
    download.begin(None)
    download.write(DATA[:5])
    download.close()
    download.close()
    assert list(tmp_path.iterdir()) == []


def test_a_left_over_temporary_file_is_not_touched(tmp_path: Path) -> None:
    left = tmp_path / f".target.{os.getpid()}-0.part"
    left.write_bytes(b"another's")
    download = Download(DIGEST, None, target(tmp_path / "target"))
    download.begin(None)
    download.write(DATA)
    download.commit()
    assert left.read_bytes() == b"another's"
    assert (tmp_path / "target").read_bytes() == DATA


def test_more_bytes_than_announced_are_refused_as_they_come(tmp_path: Path) -> None:
    download = Download(DIGEST, None, target(tmp_path / "target"))
    download.begin(4)
    with pytest.raises(DigestMismatchError, match="over 4"):
        download.write(DATA)
    download.close()


def test_fewer_bytes_than_announced_are_refused() -> None:
    download = Download(DIGEST, len(DATA), target(None))
    download.begin(None)
    download.write(DATA[:-1])
    with pytest.raises(DigestMismatchError):
        download.commit()


def test_a_folder_that_goes_away_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    download = Download(DIGEST, None, target(folder / "target"))
    download.begin(None)
    download.write(DATA)
    shutil.rmtree(folder)
    with pytest.raises(LocalFileError, match="target"):
        download.commit()
    download.close()


class Trickle(io.RawIOBase):
    """A raw file that takes few bytes at once, as a pipe does."""

    def __init__(self) -> None:
        self.taken = b""

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        part = bytes(cast("memoryview", data)[:3])
        self.taken += part
        return len(part)


def _into(file: object) -> Download:
    download = Download(DIGEST, None, target(cast("BinaryIO", file)))
    download.begin(None)
    return download


def test_a_file_that_takes_few_bytes_at_once_gets_all() -> None:
    file = Trickle()
    download = _into(file)
    download.write(DATA)
    assert download.commit() == b""
    download.close()
    assert file.taken == DATA
    assert not file.closed


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with open("/dev/full", "wb") as file:
        download = _into(file)
        download.write(DATA)
        with pytest.raises(LocalFileError, match="No space left"):
            download.commit()
        with pytest.raises(OSError, match="No space left"):  # the caller's own bytes
            file.close()


def test_a_closed_file_is_named() -> None:
    file = io.BytesIO()
    download = _into(file)
    file.close()
    with pytest.raises(LocalFileError, match="closed"):
        download.write(DATA)


def test_a_file_that_would_block_is_named() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with open(reading, "rb"), open(writing, "wb", buffering=0) as file:
        download = _into(file)
        with pytest.raises(LocalFileError, match="blocking"):
            download.write(DATA * 100_000)


def test_a_text_file_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="binary"):
        _into(io.StringIO()).write(DATA)


def test_what_cannot_be_written_to_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="int"):
        target(cast("BinaryIO", 7))


def test_a_path_that_no_file_can_have_is_named() -> None:
    with pytest.raises(LocalFileError, match="null"):
        Download(DIGEST, None, target("no\0name")).begin(None)
