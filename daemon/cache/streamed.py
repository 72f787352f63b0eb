"""A blob read straight from the store, where there is no room for a copy.

1. One piece is held at a time, and nothing is written.
2. The last piece is not handed out before all of them have the blob's digest. So whoever takes the
   blob in order never gets the whole of a wrong one; a blob of one piece is verified before its
   first byte is used. Pieces before the last were compared with nothing yet: what is being sent
   breaks off if the end is wrong, as it does when a copy's later piece turns out damaged.
"""

import hashlib

from coatcheck.protocol import PIECE_BYTES, Digest, piece_count

from ..errors import WrongBytesError
from .origin import Flow, Origin
from .threads import Threads


class StreamedReader:
    """A blob on its way; belongs to one task. Reading backwards begins it again."""

    def __init__(
        self, origin: Origin, tenant: str, digest: Digest, size: int, threads: Threads
    ) -> None:
        self._origin = origin
        self._tenant = tenant
        self._digest = digest
        self._threads = threads
        self.size = size
        """Bytes of the blob."""
        self._flow: Flow | None = None
        self._hasher = hashlib.sha256()
        self._next = 0
        self._piece = b""
        self._rest = b""

    async def read_piece(self, index: int) -> memoryview:
        """Return piece `index`; the view is good until the next call.

        Raises:
            WrongBytesError: other bytes came.
            what the origin raises.
        """
        if not 0 <= index < piece_count(self.size):
            raise IndexError(f"a blob of {self.size} bytes has no piece {index}")
        if index < self._next - 1:
            await self.close()
        while self._next <= index:
            await self._read_next()
        return memoryview(self._piece)

    async def close(self) -> None:
        """Let go of the connection. May be called twice."""
        flow, self._flow = self._flow, None
        self._hasher = hashlib.sha256()
        self._next, self._piece, self._rest = 0, b"", b""
        if flow is not None:
            flow.close()

    async def _read_next(self) -> None:
        if self._flow is None:
            self._flow = await self._origin.open(self._tenant, self._digest)
        wanted = min(PIECE_BYTES, self.size - self._next * PIECE_BYTES)
        piece = await self._take(self._flow, wanted)
        await self._threads.run(lambda: self._hasher.update(piece))
        if self._next + 1 == piece_count(self.size):
            await self._check_end(self._flow)
        self._piece = piece
        self._next += 1

    async def _take(self, flow: Flow, wanted: int) -> bytes:
        parts, count = [self._rest], len(self._rest)
        while count < wanted:
            part = await flow.read()
            if not part:
                raise WrongBytesError(self._digest)
            parts.append(part)
            count += len(part)
        joined = b"".join(parts)
        self._rest = joined[wanted:]
        return joined[:wanted]

    async def _check_end(self, flow: Flow) -> None:
        if self._rest or await flow.read() or self._hasher.digest() != self._digest.raw:
            raise WrongBytesError(self._digest)
