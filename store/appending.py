"""One request's bytes on their way to the end of an upload.

1. What is noted as the upload's offset is on the disk: bytes are synced first, every few mebibytes and
   at the end, however the request ends.
2. Nothing is written twice: a step that was begun is waited for, also when its caller was cancelled.
3. A sync that fails has lost the upload, and is not tried again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Final

from .errors import UploadLostError
from .parts import Part
from .piece_buffers import PieceBuffers
from .probe import Probe
from .slab import Slab

SYNC_BYTES: Final = 8 * 1024 * 1024
"""What a crash may cost a running request. Syncing so much takes as long as receiving it, or less."""


class Appending:
    """Takes a body for a part that is locked. `settle` comes last, once, in any case."""

    def __init__(
        self,
        part: Part,
        probe: Probe | None,
        slabs: PieceBuffers,
        *,
        offset: int,
        note: Callable[[int], Awaitable[None]],
    ) -> None:
        """Append behind `offset`; `note` is told each offset up to which all is synced.

        The `probe` has seen all up to here; without one the bytes are looked at later.
        """
        self._part = part
        self.probe = probe
        """What it has seen is what was written."""
        self._slab = Slab(slabs, self._write)
        self._note = note
        self._step: asyncio.Task[None] | None = None
        self._written = offset
        self.taken = offset
        """Where the upload ends, with what is still in memory."""
        self.noted = offset
        """Where it ends on the disk."""
        self.is_lost = False
        """Whether the disk may have dropped bytes of it."""

    async def take(self, chunk: bytes) -> None:
        """Append a chunk of any size.

        Raises:
            StoreFullError, StoreUnavailableError: the disk or the index failed.
        """
        self.taken += len(chunk)
        await self._slab.fill(chunk)
        if self._written - self.noted >= SYNC_BYTES:
            await self._finish(self._sync())

    async def settle(self) -> None:
        """Bring to the disk what was taken, and note it. Not to be cancelled.

        Raises:
            StoreFullError, StoreUnavailableError: not all of it could be; `noted` says how much is.
        """
        try:
            if self._step is not None:
                await asyncio.wait([self._step])
                self._step.exception()  # whoever took the step was told, or is gone
            if not self.is_lost:
                await self._save()
        finally:
            self._slab.close()

    async def _save(self) -> None:
        try:
            await self._slab.flush()
        finally:
            if self._written > self.noted:
                await self._sync()

    async def _write(self, data: memoryview) -> None:
        def beside() -> None:
            self._written += data.nbytes
            if self.probe is not None:
                self.probe.update(data)

        await self._finish(self._part.write([data], beside))

    async def _sync(self) -> None:
        end = self._written
        try:
            await self._part.sync()
        except UploadLostError:
            self.is_lost = True
            raise
        await self._note(end)
        self.noted = end

    async def _finish(self, step: Coroutine[object, None, None]) -> None:
        """Take a step that comes to its end; a cancelled caller leaves it to `settle`."""
        self._step = asyncio.create_task(step)
        await asyncio.shield(self._step)
