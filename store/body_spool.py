"""Bodies of requests set aside on disk until it is known whose they are.

Such bytes are no blob and nobody's yet: nothing is hashed, synced or counted for a tenant. Their file
has no name, so the kernel frees it when it is closed, or with its process. Disk is set aside for it
before it is written, as for uploads.
"""

import asyncio
import tempfile
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import BinaryIO, TypeVar

from coatcheck.protocol import Buffer

from .disk_space import Claim, DiskSpace
from .errors import StoreUnavailableError, disk_error

_READ_BYTES = 256 * 1024

_T = TypeVar("_T")


class BodySpools:
    """Makes spools in one folder. Owns nothing."""

    def __init__(self, folder: Path | None, space: DiskSpace | None) -> None:
        """`folder` is there; None: where the system has its temporary files, unaccounted."""
        self._folder = folder
        self._space = space

    @classmethod
    def at(cls, folder: Path, min_free_bytes: int) -> "BodySpools":
        """Make spools in a folder, and leave so much of its disk free."""
        return cls(folder, DiskSpace(folder, min_free_bytes))

    def spool(self) -> "BodySpool":
        """Return a new, empty spool; whoever asked for it closes it."""
        return BodySpool(_File(self._folder, Claim(self._space) if self._space else None))


class BodySpool:
    """One body. `write` it, then read `chunks`; `close` it in any case. Made without any I/O."""

    def __init__(self, file: "_File") -> None:
        self._file = file

    async def write(self, chunks: Sequence[Buffer]) -> None:
        """Append the chunks.

        Raises:
            StoreFullError, StoreUnavailableError: the disk refused.
        """
        await _run(lambda: self._file.append(chunks))

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Yield what was written, from its beginning on; may be called again.

        Raises:
            StoreUnavailableError: the disk refused.
        """
        offset = 0
        while chunk := await _run(lambda at=offset: self._file.read(at)):  # type: ignore[misc]  # mypy cannot infer a default's type
            yield chunk
            offset += len(chunk)

    async def close(self) -> None:
        """Give the disk back. May be called twice."""
        await asyncio.to_thread(self._file.close)


async def _run(work: Callable[[], _T]) -> _T:
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise disk_error(error) from error


class _File:
    """The file, made at the first write, and the disk set aside. Blocking.

    One call at a time: a call that was cancelled may still run when the next one comes.
    """

    def __init__(self, folder: Path | None, claim: Claim | None) -> None:
        self._folder = folder
        self._claim = claim
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._is_closed = False

    def append(self, chunks: Sequence[Buffer]) -> None:
        count = sum(memoryview(chunk).nbytes for chunk in chunks)
        with self._lock:
            self._require_open()
            if self._claim is not None:
                self._claim.reserve(count)
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0, dir=self._folder)  # noqa: SIM115 - closed by `close`
            for chunk in chunks:
                view = memoryview(chunk)
                while view.nbytes:
                    view = view[self._file.write(view) :]
            if self._claim is not None:
                self._claim.wrote(count)

    def read(self, offset: int) -> bytes:
        with self._lock:
            self._require_open()
            if self._file is None:
                return b""
            self._file.seek(offset)
            return self._file.read(_READ_BYTES)

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            if self._claim is not None:
                self._claim.end()
            file, self._file = self._file, None
            if file is not None:
                file.close()

    def _require_open(self) -> None:
        if self._is_closed:  # by `close`, which overtook a cancelled call
            raise StoreUnavailableError("the body was let go of")
