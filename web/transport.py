"""A transport that counts what is written to it."""

import asyncio
from collections.abc import Iterable
from typing import Any

from coatcheck.protocol import Buffer


class CountedTransport(asyncio.Transport):
    """Passes every call on; `bytes_out` counts the bytes handed to the socket's buffer.

    What is not `bytes` is copied, so that a caller may reuse its buffer as soon as `write` has
    returned: from Python 3.12 on asyncio keeps a view of what the socket did not take.
    """

    __slots__ = ("_inner", "bytes_out")

    def __init__(self, inner: asyncio.Transport) -> None:
        super().__init__()
        self._inner = inner
        self.bytes_out = 0

    def write(self, data: Buffer) -> None:
        self.bytes_out += len(data)
        self._inner.write(data if isinstance(data, bytes) else bytes(data))

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        self.write(b"".join(list_of_data))

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
