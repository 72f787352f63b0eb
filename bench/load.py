"""Load from several kept-alive connections at once, at the least cost to the machine it shares.

One thread, one epoll, prepared bytes and one buffer for all that comes back: what is measured is
the server. A script says what its connection sends next, given the answer to what it sent last.
"""

import re
import select
import socket
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias

from .caller import UnexpectedAnswerError

_BUFFER_BYTES = 1024 * 1024
_PATIENCE_SECONDS = 30.0
_HEAD_END = b"\r\n\r\n"
_status = re.compile(rb"HTTP/1\.1 ([0-9]{3})").match
_length = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE).search


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer whose body was read and dropped."""

    status: int
    head: bytes
    size: int
    """Bytes of its body."""


Request: TypeAlias = Sequence[bytes]
"""A whole request, in pieces that follow each other on the wire."""
Script: TypeAlias = Generator[Request, Reply, None]
"""What one connection does: yields a request, is sent the reply to it."""


class Load:
    """Connections to one port of this host; closed by leaving it."""

    def __init__(self, port: int, connections: int) -> None:
        """Prepare so many connections; entering opens them."""
        self._port = port
        self._count = connections
        self._wires: list[_Wire] = []
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))

    def __enter__(self) -> Self:
        """Connect."""
        self._epoll = select.epoll()
        for _ in range(self._count):
            wire = _Wire(socket.create_connection(("127.0.0.1", self._port)))
            self._wires.append(wire)
            self._epoll.register(wire.fileno, select.EPOLLIN)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection."""
        self._epoll.close()
        for wire in self._wires:
            wire.close()

    def run(self, scripts: Sequence[Script]) -> float:
        """Run one script on each connection, all at once; return the seconds they took together.

        Raises:
            UnexpectedAnswerError: a server broke off, said something else than HTTP/1.1 with a
                length, or nothing for 30 seconds.
        """
        began = time.perf_counter()
        busy: dict[int, _Wire] = {}
        for wire, script in zip(self._wires, scripts, strict=True):
            wire.begin(script)
            busy[wire.fileno] = wire
            self._attend(wire)
        while busy:
            events = self._epoll.poll(_PATIENCE_SECONDS)
            if not events:
                raise UnexpectedAnswerError("a server said nothing for 30 seconds")
            for number, event in events:
                if number not in busy:
                    raise UnexpectedAnswerError("a server closed a connection between requests")
                wire = busy[number]
                if event & select.EPOLLOUT:
                    wire.send()
                if event & ~select.EPOLLOUT and not wire.receive(self._buffer):
                    del busy[number]
                self._attend(wire)
        return time.perf_counter() - began

    def _attend(self, wire: "_Wire") -> None:
        if wire.wants_to_send != wire.watched:
            wire.watched = wire.wants_to_send
            events = select.EPOLLIN | (select.EPOLLOUT if wire.watched else 0)
            self._epoll.modify(wire.fileno, events)


class _Wire:
    """One connection and where it is in its script."""

    def __init__(self, peer: socket.socket) -> None:
        peer.setblocking(False)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._peer = peer
        self._script: Script | None = None
        self._unsent: list[memoryview] = []
        self._head = bytearray()
        self._reply: Reply | None = None
        self._left = 0
        self.fileno = peer.fileno()
        self.watched = False

    @property
    def wants_to_send(self) -> bool:
        return bool(self._unsent)

    def begin(self, script: Script) -> None:
        self._script = script
        self._say(next(script))

    def send(self) -> None:
        while self._unsent:
            try:
                count = self._peer.sendmsg(self._unsent)
            except BlockingIOError:
                return
            while self._unsent and count >= self._unsent[0].nbytes:
                count -= self._unsent.pop(0).nbytes
            if count:
                self._unsent[0] = self._unsent[0][count:]

    def receive(self, buffer: memoryview) -> bool:
        """Take what is there; False when the script has ended."""
        try:
            count = self._peer.recv_into(buffer)
        except BlockingIOError:
            return True
        except ConnectionError as error:
            raise UnexpectedAnswerError(f"a server reset the connection: {error}") from error
        if not count:
            raise UnexpectedAnswerError(f"a server closed the connection: {bytes(self._head)!r}")
        if self._reply is None:
            count = self._take_head(bytes(buffer[:count]))
        self._left -= count
        if self._reply is None or self._left > 0:
            return True
        return self._next(self._reply)

    def close(self) -> None:
        self._peer.close()

    def _take_head(self, data: bytes) -> int:
        """Return how many bytes of the body came with the head."""
        self._head += data
        end = self._head.find(_HEAD_END)
        if end < 0:
            return 0
        head = bytes(self._head[: end + 2])
        rest = len(self._head) - end - len(_HEAD_END)
        self._head.clear()
        status, length = _status(head), _length(head)
        if status is None or (length is None and status[1] != b"204"):
            raise UnexpectedAnswerError(f"not an answer with a length: {head[:200]!r}")
        self._left = int(length[1]) if length else 0
        self._reply = Reply(int(status[1]), head, self._left)
        return rest

    def _next(self, reply: Reply) -> bool:
        assert self._script is not None
        self._reply = None
        try:
            self._say(self._script.send(reply))
        except StopIteration:
            self._script = None
            return False
        return True

    def _say(self, request: Request) -> None:
        self._unsent = [memoryview(part) for part in request]
        self.send()
