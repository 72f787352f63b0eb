"""Sockets that listen, apart from who accepts on them.

Whoever binds them may hand them to other processes, and keeps them while those come and go: a client
that waits in a socket's queue is lost only when the last process has closed it.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import socket
import stat
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .errors import AddressError

_QUEUE = 512  # clients that the kernel holds for loops that are busy
_UNIX_MODE = 0o660  # the group is who an operator lets in, such as a proxy's
_NOT_HERE = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})


@dataclass(frozen=True, slots=True)
class BoundAddress:
    """Where a server listens; `port` is the real one when 0 was asked for."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The base URL of this address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A socket's file, as it was made."""

    path: Path
    inode: int

    @property
    def url(self) -> str:
        """How this address is written."""
        return f"unix:{self.path}"

    def remove(self) -> None:
        """Remove the file, unless somebody else's stands there now. May be called twice."""
        with contextlib.suppress(OSError):
            if self.path.lstat().st_ino == self.inode:
                self.path.unlink()


@dataclass(frozen=True, slots=True)
class Listening:
    """Bound sockets, from `listen` until `close`."""

    sockets: tuple[socket.socket, ...]
    address: BoundAddress
    uds: UnixAddress | None = None

    @property
    def urls(self) -> list[str]:
        """Where clients reach these sockets, the port first."""
        return [self.address.url, *([self.uds.url] if self.uds else [])]

    def close(self) -> None:
        """Listen no more, as far as this process goes, and remove the file. May be called twice."""
        for bound in self.sockets:
            bound.close()
        if self.uds:
            self.uds.remove()


async def listen(host: str, port: int, uds: Path | None = None) -> Listening:
    """Listen on all addresses of a host, and at a path of this one if one is given.

    Port 0 picks a free one. A socket's file that nobody listens at any more is replaced.

    Raises:
        AddressError: an address is taken, or cannot be listened on.
    """
    tcp = await _listen_tcp(host, port)
    name, number = tcp[0].getsockname()[:2]
    address = BoundAddress(name, number)
    if uds is None:
        return Listening(tuple(tcp), address)
    try:
        unix, made = await asyncio.to_thread(listen_unix, uds)
    except BaseException:
        for bound in tcp:
            bound.close()
        raise
    return Listening((*tcp, unix), address, made)


def listen_unix(path: Path, *, mode: int = _UNIX_MODE) -> tuple[socket.socket, UnixAddress]:
    """Listen at a path; see `listen`. Blocking.

    Raises:
        AddressError: somebody listens there, or it is no socket, or it cannot be made.
    """
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _alone_in(path.parent):
            _clear(path)
            bound.bind(str(path))
        path.chmod(mode)  # before anybody can connect
        bound.listen(_QUEUE)
        bound.setblocking(False)
        return bound, UnixAddress(path, path.lstat().st_ino)
    except OSError as error:
        bound.close()
        raise AddressError(f"cannot listen at {path}: {error}") from error
    except BaseException:
        bound.close()
        raise


async def _listen_tcp(host: str, port: int) -> list[socket.socket]:
    loop = asyncio.get_running_loop()
    sockets: list[socket.socket] = []
    try:
        found = await loop.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        failed: OSError | None = None
        for family, address in dict.fromkeys((item[0], item[4]) for item in found):
            try:
                sockets.append(_bound(family, _with_port(address, sockets)))
            except OSError as error:  # such as ::1 of a host without IPv6
                if error.errno not in _NOT_HERE:
                    raise
                failed = error
        if not sockets:
            raise failed or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    except OSError as error:
        for bound in sockets:
            bound.close()
        raise AddressError(f"cannot listen on {host}:{port}: {error}") from error
    return sockets


def _with_port(
    address: tuple[str | int | bytes, ...], before: list[socket.socket]
) -> tuple[str | int | bytes, ...]:
    """Return an address with the port that the first one got, if that was picked."""
    if address[1] or not before:
        return address
    return (address[0], before[0].getsockname()[1], *address[2:])


def _bound(family: int, address: tuple[str | int | bytes, ...]) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        bound.listen(_QUEUE)
        bound.setblocking(False)
    except BaseException:
        bound.close()
        raise
    return bound


@contextmanager
def _alone_in(folder: Path) -> Generator[None]:
    """Keep others who start here from taking our new file for a dead server's."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _clear(path: Path) -> None:
    """Remove the file of a server that is gone."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise AddressError(f"cannot listen at {path}: it is there, and no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full queue means a server too
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass
    raise AddressError(f"cannot listen at {path}: a server listens there")
