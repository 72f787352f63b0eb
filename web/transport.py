"""A transport that counts what is written to it."""

import asyncio
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from coatcheck.protocol import Buffer


class CountedTransport(asyncio.Transport):
    """Passes every call on; `bytes_out` counts the bytes handed to the socket's buffer.

    A caller may reuse its buffer as soon as `write` has returned. What is not `bytes` goes straight
    to the socket, and only what that does not take is copied: asyncio would copy all of it, or
    from Python 3.12 on keep a view of it.
    """

    __slots__ = ("_descriptor", "_inner", "bytes_out")

    def __init__(self, inner: asyncio.Transport) -> None:
        super().__init__()
        self._inner = inner
        peer = inner.get_extra_info("socket")
        self._descriptor: int | None = None if peer is None else peer.fileno()
        self.bytes_out = 0

    def write(self, data: Buffer) -> None:
        if isinstance(data, bytes):
            self.bytes_out += len(data)
            self._inner.write(data)
        else:
            self.writelines((data,))

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        parts = [part for part in list_of_data if len(part)]
        count = sum(map(len, parts))
        self.bytes_out += count
        taken = self._send(parts)
        if taken < count:
            self._inner.write(b"".join(_without(parts, taken)))

    def _send(self, parts: Sequence[Buffer]) -> int:
        """Give the socket what it takes now, unless something waits already; return how much."""
        if self._descriptor is None or self.is_closing() or self.get_write_buffer_size():
            return 0
        try:
            return os.writev(self._descriptor, parts)
        except OSError:  # it takes nothing now, or has failed: asyncio's own call sees to that
            return 0

    def write_eof(self) -> None:
        self._inner.write_eof()

    def can_write_eof(self) -> bool:
        return self._inner.can_write_eof()

    def abort(self) -> None:
        self._inner.abort()

    def close(self) -> None:
        self._inner.close()

    def is_closing(self) -> bool:
        return self._inner.is_closing()

    def is_reading(self) -> bool:
        return self._inner.is_reading()

    def pause_reading(self) -> None:
        self._inner.pause_reading()

    def resume_reading(self) -> None:
        self._inner.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._inner.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._inner.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._inner.get_write_buffer_limits()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._inner.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._inner.get_protocol()

    # The type is asyncio's own: what an extra is depends on its name.
    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._inner.get_extra_info(name, default)


def _without(parts: Sequence[Buffer], count: int) -> Iterator[Buffer]:
    """Yield what follows the first so many bytes."""
    for part in parts:
        if count < len(part):
            yield memoryview(part)[count:]
        count = max(0, count - len(part))
