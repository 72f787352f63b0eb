"""Accepts connections on sockets that others may accept on too.

asyncio's own server is not used, for two reasons: one that is closed drops connections that it has
accepted in the same turn of the loop, and it takes as many at once as its queue is long, so that of
several processes on one socket the first to wake takes them all.
"""

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Sequence

from .balance import Balance

_logger = logging.getLogger("coatcheck.web")

_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# What accept(2) says of the connection that it would have given, not of the socket. (A firewall's EPERM too.)
_OF_THE_CLIENT = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPROTO,
        errno.ENOPROTOOPT,
        errno.EOPNOTSUPP,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENONET,
        errno.ETIMEDOUT,
        errno.EPERM,
    }
)
_PAUSE_SECONDS = 1.0
_YIELD_SECONDS = 0.005
"""How long a connection is left to processes that have fewer: they take it sooner unless all are busy."""


class Acceptor:
    """Accepts from `start` until `stop`. The sockets are its own then, and closed at the stop."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        make_protocol: Callable[[], asyncio.Protocol],
        *,
        at_once: int,
        live: Callable[[], int],
        balance: Balance | None = None,
    ) -> None:
        """`at_once` bounds the connections accepted in one turn of the loop, for each socket.

        `live` says how many there are. With a `balance` the sockets are shared: then a connection is
        left to others that have fewer, and taken only when the one before has been.
        """
        self._live = live
        self._balance = balance
        self._sockets = sockets
        self._make_protocol = make_protocol
        self._at_once = 1 if balance else at_once
        self._loop = asyncio.get_running_loop()
        self._beginning: set[asyncio.Task[None]] = set()
        self._pauses: dict[socket.socket, asyncio.TimerHandle] = {}

    def start(self) -> None:
        """Begin to accept."""
        self.report()
        for bound in self._sockets:
            self._loop.add_reader(bound, self._accept, bound)

    async def stop(self) -> None:
        """Accept no more; return when every connection that was accepted has begun.

        May be called twice.
        """
        if self._balance:
            self._balance.leave()
            self._balance = None
        for bound in self._sockets:
            if bound.fileno() < 0:
                continue
            if bound in self._pauses:
                self._pauses.pop(bound).cancel()
            self._loop.remove_reader(bound)
            bound.close()
        if self._beginning:
            await asyncio.wait(self._beginning)

    def report(self) -> None:
        """Tell those who share the sockets how many connections there are; to be called on a change."""
        if self._balance:
            self._balance.report(self._live() + len(self._beginning))

    def _accept(self, bound: socket.socket) -> None:
        if self._balance and self._balance.is_ahead:
            self._pause(bound, _YIELD_SECONDS)
        else:
            self._take(bound)

    def _take(self, bound: socket.socket) -> None:
        for _ in range(self._at_once):
            try:
                peer, _address = bound.accept()
            except (BlockingIOError, InterruptedError):
                return  # another process was faster
            except OSError as error:
                if error.errno in _OF_THE_CLIENT:
                    return
                if error.errno not in _OUT_OF_RESOURCES:
                    raise
                _logger.error("no connection can be accepted: %s", error)
                self._pause(bound, _PAUSE_SECONDS)
                return
            peer.setblocking(False)
            task = self._loop.create_task(self._begin(peer))
            self._beginning.add(task)
            task.add_done_callback(self._begun)
            self.report()

    async def _begin(self, peer: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make_protocol, peer)
        except OSError:
            peer.close()

    def _begun(self, task: asyncio.Task[None]) -> None:
        self._beginning.discard(task)
        self.report()

    def _pause(self, bound: socket.socket, seconds: float) -> None:
        """Look away from a socket; else the loop would be told of it without end."""
        self._loop.remove_reader(bound)

        def go_on() -> None:
            del self._pauses[bound]
            self._loop.add_reader(bound, self._accept, bound)
            self._take(bound)

        self._pauses[bound] = self._loop.call_later(seconds, go_on)
