"""A hop between two programs on loopback: it carries bytes, counts them, and can be cut at any one.

Counts are bytes of the TCP stream, HTTP heads among them. A cut is of the connection that carries the
chosen byte, counted from the moment that it was ordered: what stands before it in that direction has
arrived, nothing after it does, and both ends see their connection end or reset.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["up", "down"]

_CHUNK_BYTES = 256 * 1024


@dataclass(slots=True)
class Cut:
    """One order to cut: after how many more bytes, in which direction, and whether it came to it."""

    direction: Direction
    after_bytes: int
    is_reset: bool = False
    """Whether the ends see a reset; else what a program that ends leaves."""
    is_done: bool = False

    def allowed(self, direction: Direction, size: int) -> int:
        """Return how many of the next bytes in a direction pass; fewer than asked is the cut."""
        if self.is_done or direction != self.direction:
            return size
        passed = min(size, self.after_bytes)
        self.after_bytes -= passed
        self.is_done = passed < size
        return passed


@dataclass(slots=True)
class Hop:
    """Where it listens, whom it leads to, and what passed since it began."""

    target_port: int
    port: int = 0
    up: int = 0
    down: int = 0
    connections: int = 0
    cut: Cut | None = None
    tasks: set["asyncio.Task[None]"] = field(default_factory=set["asyncio.Task[None]"])

    @property
    def url(self) -> str:
        """The origin to give to clients."""
        return f"http://127.0.0.1:{self.port}"

    def cut_after(self, direction: Direction, after_bytes: int, *, is_reset: bool = False) -> Cut:
        """Order one cut; what was ordered before and has not come is forgotten."""
        self.cut = Cut(direction, after_bytes, is_reset)
        return self.cut

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection in a task of its own."""
        task = asyncio.create_task(self._serve(reader, writer))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        task.add_done_callback(lambda _: writer.close())  # also where it never got to run

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            there = await asyncio.open_connection("127.0.0.1", self.target_port, limit=_CHUNK_BYTES)
        except OSError:
            writer.transport.abort()
            return
        ends = (writer, there[1])
        tasks = [
            asyncio.create_task(self._carry(reader, there[1], "up")),
            asyncio.create_task(self._carry(there[0], writer, "down")),
        ]
        try:
            await asyncio.gather(*tasks)
        except OSError:
            _break(ends, is_reset=self.cut is not None and self.cut.is_reset)
        finally:
            for task in tasks:
                task.cancel()
            for end in ends:
                end.close()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        """Carry until the end, which is passed on.

        Raises:
            OSError: an end is gone, or the cut came; both directions are over.
        """
        while data := await reader.read(_CHUNK_BYTES):
            passed = self.cut.allowed(direction, len(data)) if self.cut else len(data)
            writer.write(data[:passed])
            self._count(direction, passed)
            await writer.drain()
            if passed < len(data):
                await _flushed(writer)
                raise ConnectionAbortedError
        writer.write_eof()

    def _count(self, direction: Direction, size: int) -> None:
        if direction == "up":
            self.up += size
        else:
            self.down += size


async def _flushed(writer: asyncio.StreamWriter) -> None:
    """Wait until the kernel has all that was written, which an abort would drop."""
    writer.transport.set_write_buffer_limits(0)
    await writer.drain()


def _break(ends: Iterable[asyncio.StreamWriter], *, is_reset: bool) -> None:
    for end in ends:
        if is_reset:
            lingering = struct.pack("ii", 1, 0)
            end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, lingering)
        end.transport.abort()


@asynccontextmanager
async def hopping(target: str) -> AsyncGenerator[Hop]:
    """Run a hop to a server's origin."""
    hop = Hop(int(target.rpartition(":")[2]))
    listener = await asyncio.start_server(hop.accept, "127.0.0.1", 0, limit=_CHUNK_BYTES)
    hop.port = listener.sockets[0].getsockname()[1]
    try:
        yield hop
    finally:
        listener.close()
        tasks = list(hop.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()
