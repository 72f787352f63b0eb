"""Sockets that listen: taken ones are refused, a dead server's file is replaced."""

import asyncio
import socket
import stat
from pathlib import Path

import pytest

from coatcheck.web import AddressError, listen, listen_unix


async def test_a_file_is_made_for_owner_and_group_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listening = await listen("127.0.0.1", 0, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert listening.urls == [listening.address.url, f"unix:{path}"]
    _, writer = await asyncio.open_unix_connection(path)
    writer.close()
    listening.close()
    assert not path.exists()
    listening.close()


async def test_a_live_servers_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listening = await listen("127.0.0.1", 0, path)
    with pytest.raises(AddressError, match="a server listens there"):
        await listen("127.0.0.1", 0, path)
    assert path.exists()
    listening.close()


def test_a_dead_servers_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listen_unix(path)[0].close()  # as a killed process leaves it
    bound, made = listen_unix(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    bound.close()
    made.remove()
    assert not path.exists()


def test_another_servers_file_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    bound, made = listen_unix(path)
    bound.close()
    other, _ = listen_unix(path)
    other_inode = path.stat().st_ino
    if other_inode != made.inode:  # the file system may give the same number again
        made.remove()
        assert path.exists()
    other.close()


@pytest.mark.parametrize("name", ["file", "folder", "no/such/folder", "x" * 108])
def test_what_cannot_be_listened_at_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"kept")
    (tmp_path / "folder").mkdir()
    with pytest.raises(AddressError, match=name):
        listen_unix(tmp_path / name)
    assert (tmp_path / "file").read_bytes() == b"kept"


async def test_a_taken_port_leaves_nothing_behind(tmp_path: Path) -> None:
    listening = await listen("127.0.0.1", 0)
    with pytest.raises(AddressError, match=str(listening.address.port)):
        await listen("127.0.0.1", listening.address.port, tmp_path / "socket")
    assert not (tmp_path / "socket").exists()
    listening.close()


async def test_an_unknown_host_is_an_error() -> None:
    with pytest.raises(AddressError):
        await listen("host.invalid", 0)


async def test_all_addresses_of_a_name_get_one_port() -> None:
    listening = await listen("localhost", 0)
    assert {bound.getsockname()[1] for bound in listening.sockets} == {listening.address.port}
    listening.close()
