"""Downloads to files: whole or not at all."""

import os
import shutil
from pathlib import Path

import pytest

from coatcheck.client import DigestMismatchError, LocalFileError
from coatcheck.client.download import Download
from coatcheck.protocol import Digest

DATA = b"a ticket for a coat"
DIGEST = Digest.of(DATA)


def test_a_file_appears_when_it_is_committed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    download = Download(DIGEST, None, target)
    download.begin(len(DATA))
    download.write(DATA[:5])
    download.write(DATA[5:])
    assert not target.exists()
    assert download.commit() == b""
    download.close()
    assert target.read_bytes() == DATA


def test_it_has_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"")
    download = Download(DIGEST, None, tmp_path / "target")
    download.begin(None)
    download.write(DATA)
    download.commit()
    assert (tmp_path / "target").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_what_is_not_committed_is_removed(tmp_path: Path) -> None:
    download = Download(DIGEST, None, tmp_path / "target")
    download.begin(None)
    download.write(DATA[:5])
    download.close()
    download.close()
    assert list(tmp_path.iterdir()) == []


def test_a_left_over_temporary_file_is_not_touched(tmp_path: Path) -> None:
    left = tmp_path / f".target.{os.getpid()}-0.part"
    left.write_bytes(b"another's")
    download = Download(DIGEST, None, tmp_path / "target")
    download.begin(None)
    download.write(DATA)
    download.commit()
    assert left.read_bytes() == b"another's"
    assert (tmp_path / "target").read_bytes() == DATA


def test_more_bytes_than_announced_are_refused_as_they_come(tmp_path: Path) -> None:
    download = Download(DIGEST, None, tmp_path / "target")
    download.begin(4)
    with pytest.raises(DigestMismatchError, match="over 4"):
        download.write(DATA)
    download.close()


def test_fewer_bytes_than_announced_are_refused() -> None:
    download = Download(DIGEST, len(DATA), None)
    download.begin(None)
    download.write(DATA[:-1])
    with pytest.raises(DigestMismatchError):
        download.commit()


def test_a_folder_that_goes_away_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    download = Download(DIGEST, None, folder / "target")
    download.begin(None)
    download.write(DATA)
    shutil.rmtree(folder)
    with pytest.raises(LocalFileError, match="target"):
        download.commit()
    download.close()
