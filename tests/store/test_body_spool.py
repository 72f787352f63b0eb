"""Bodies set aside: read back as written, accounted for, and gone when closed."""

import os
from pathlib import Path

import pytest

from coatcheck.store import BodySpool, BodySpools, StoreFullError, StoreUnavailableError

DATA = os.urandom(700_001)


async def read(spool: BodySpool) -> bytes:
    return b"".join([chunk async for chunk in spool.chunks()])


async def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    spool = BodySpools.at(tmp_path, 0).spool()
    try:
        assert await read(spool) == b""
        await spool.write([DATA[:10], memoryview(DATA)[10:400_000]])
        await spool.write([DATA[400_000:]])
        assert await read(spool) == DATA
        assert await read(spool) == DATA
    finally:
        await spool.close()
    await spool.close()


async def test_its_file_has_no_name(tmp_path: Path) -> None:
    spool = BodySpools(tmp_path, None).spool()
    await spool.write([DATA])
    assert os.listdir(tmp_path) == []
    await spool.close()
    with pytest.raises(StoreUnavailableError):
        await read(spool)
    with pytest.raises(StoreUnavailableError):
        await spool.write([b"x"])


async def test_a_disk_without_room_takes_nothing(tmp_path: Path) -> None:
    system = os.statvfs(tmp_path)
    spool = BodySpools.at(tmp_path, system.f_blocks * system.f_frsize).spool()
    with pytest.raises(StoreFullError):
        await spool.write([b"x"])
    await spool.close()


async def test_a_folder_that_is_gone_is_an_error_of_the_store(tmp_path: Path) -> None:
    spool = BodySpools(tmp_path / "gone", None).spool()
    with pytest.raises(StoreUnavailableError):
        await spool.write([b"x"])
    await spool.close()
