"""Where an upload's bytes lie while it is received over several requests.

A part is one file for each upload, named by its id. It is told what to do by `uploads.py`, which
knows how far each upload has come, and promises in return:

1. Whoever has locked a part is the only one who has, in all processes.
2. After `sync` returns, what was written is found again by `resume`, also after a power cut.
3. `commit` leaves the part where it is, with the same bytes, until `remove`: so that a commit whose
   row could not be written can be made again. Nothing may be written to it from then on.

Methods of a part are called one after another by whoever locked it; `close` also after a cancelled
call.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from coatcheck.protocol import Buffer, Digest


class Part(Protocol):
    """One upload's bytes so far. Made without any I/O."""

    async def lock(self) -> bool:
        """Become the one who writes; return False when somebody else is. Called once.

        Makes an empty part where there is none.

        Raises:
            StoreFullError, StoreUnavailableError: the disk refused.
        """
        ...

    async def reserve(self, more_bytes: int) -> None:
        """Set disk aside for so many bytes on top of those that are here, until `close`.

        May be called before `lock`.

        Raises:
            StoreFullError: there is not enough.
            StoreUnavailableError: the disk does not say.
        """
        ...

    async def resume(self, size: int) -> bool:
        """Drop what lies behind so many bytes; return False when not so many are here.

        Raises:
            StoreUnavailableError: the disk refused.
        """
        ...

    async def write(self, parts: Sequence[Buffer], beside: Callable[[], object]) -> None:
        """Append behind what is here, then call `beside`, in one turn of a thread; see `Spool.write`.

        Raises:
            StoreFullError, StoreUnavailableError: write no more; what was written before can be synced.
        """
        ...

    async def sync(self) -> None:
        """Bring what was written to the disk.

        Raises:
            UploadLostError: the disk did not, and asking again would not say so: `remove` it.
        """
        ...

    async def read(self, offset: int, buffer: memoryview, take: Callable[[int], object]) -> None:
        """Fill the buffer from an offset on, then call `take` with how much there was, in one turn.

        Raises:
            StoreUnavailableError: the disk refused.
        """
        ...

    async def commit(self, digest: Digest, rest: Sequence[Buffer] = ()) -> None:
        """Make what was synced the blob of this name, durably. There is no rest.

        Raises:
            UploadLostError: as for `sync`.
            StoreFullError, StoreUnavailableError: the disk refused; it may be tried again.
        """
        ...

    async def remove(self) -> None:
        """Remove the part; a blob that it became stays. May be called twice.

        What the disk refuses to remove is removed when the parts are next looked through.
        """
        ...

    async def close(self) -> None:
        """Let others lock the part, and give back what is reserved. May be called twice."""
        ...


class Parts(Protocol):
    """The parts of one backend."""

    def part(self, upload_id: str) -> Part:
        """Return an upload's part; nothing is looked for yet."""
        ...

    def list(self) -> Sequence[str]:
        """Return the ids of all uploads that have a part; what else lies there is none. Blocking.

        Raises:
            StoreUnavailableError: the disk does not say.
        """
        ...

    def size_of(self, upload_id: str) -> int | None:
        """Return how many bytes a part has, synced or not; None where there is none. Blocking.

        Raises:
            StoreUnavailableError: the disk does not say.
        """
        ...

    def remove(self, upload_id: str) -> None:
        """Remove a part that no upload has any more, if it is there. Blocking.

        Raises:
            StoreUnavailableError: it cannot be removed.
        """
        ...
