"""One way to keep bytes.

A backend is told what to keep by the one verified way in (`receive.py`) and trusts it: it
neither hashes nor bounds. What it promises in return:

1. After `Spool.commit` returns, the bytes are found under their digest, also after a power cut.
2. Before that, and after `Spool.discard`, nothing is found under the digest on its account.
3. Committing a digest that is there replaces its bytes in one step and costs the same as
   committing a new one; whoever has the blob open goes on reading what they opened.

Methods without `async` block and are called from threads, but for `open_now` and `read_now`, which
wait for nothing. A spool is asynchronous because an upload arrives in pieces; its methods are called
one after another, `discard` also after a cancelled call.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from coatcheck.protocol import Buffer, Digest

SHARDS: Final = 256
"""By the first two digits of a digest."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies in one shard."""

    sizes: Mapping[str, int]
    """Bytes as stored, by the text of the digest."""
    foreign: Sequence[str] = ()
    """Names of what is no blob and was put there by somebody else."""


class Spool(Protocol):
    """Where one upload's bytes wait until they are verified. Made without any I/O.

    What is handed to it is not changed by anybody afterwards.
    """

    async def reserve(self, total_bytes: int) -> None:
        """Set disk aside for `total_bytes` in all, so that an upload without room fails early.

        Raises:
            StoreFullError: there is not enough; what was reserved before stays.
            StoreUnavailableError: the disk does not say.
        """
        ...

    async def write(self, parts: Sequence[Buffer], beside: Callable[[], object]) -> None:
        """Append the parts, with disk set aside for them first; then call `beside`.

        Both take one turn of a thread together, because a turn costs as much as writing a small
        picture. `beside` works on the same bytes and does not raise.

        Raises:
            StoreFullError, StoreUnavailableError: the upload has failed; call `discard`.
        """
        ...

    async def commit(self, digest: Digest, rest: Sequence[Buffer] = ()) -> None:
        """Append the rest, and make what was written the blob of this name, durably.

        Called once, at the end. A small upload is all rest, and takes one turn of a thread.

        Raises:
            StoreFullError, StoreUnavailableError: the upload has failed; call `discard`.
        """
        ...

    async def discard(self) -> None:
        """Remove what is left of the upload and give its reservation back.

        May be called at any time and twice, also while a cancelled call still runs in its
        thread; does not touch a committed blob.
        """
        ...


class BlobFile(Protocol):
    """A blob's bytes, open for reading; used by one thread at a time."""

    @property
    def size(self) -> int:
        """Its length in bytes as stored, which need not be what the index says."""
        ...

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from this offset on; return how much, less only at the end.

        Raises:
            StoreUnavailableError: the bytes cannot be read, or the file was closed.
        """
        ...

    def read_now(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer with what is in memory from this offset on; return how much.

        Less also means that the rest has to be waited for, or cannot be read; `read_into` tells.
        """
        ...

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        ...


class Backend(Protocol):
    """Keeps blobs by digest."""

    def spool(self) -> Spool:
        """Return a new, empty spool."""
        ...

    def open(self, digest: Digest) -> BlobFile | None:
        """Return the blob's bytes, or `None` when they are not here.

        Raises:
            StoreUnavailableError: they are here and cannot be opened.
        """
        ...

    def open_now(self, digest: Digest) -> BlobFile | None:
        """Return the blob's bytes where opening them waits for nothing.

        `None` says nothing of the blob: `open` tells whether it is here.
        """
        ...

    def quarantine(self, digest: Digest) -> None:
        """Move the blob's bytes to where nothing serves them; do nothing when it is not here."""
        ...

    def remove(self, digest: Digest) -> None:
        """Remove the blob's bytes; do nothing when they are not here.

        They may come back after a power cut. Whoever has the blob open goes on reading it.

        Raises:
            StoreUnavailableError: they are here and cannot be removed.
        """
        ...

    def remove_quarantined(self, digest: Digest) -> None:
        """Remove bytes that were moved aside; do nothing when none were.

        Raises:
            StoreUnavailableError: they cannot be removed.
        """
        ...

    def sync_removed(self) -> None:
        """Bring removals to the disk: what was removed before does not come back after a power cut.

        Raises:
            StoreFullError, StoreUnavailableError: the disk refused.
        """
        ...

    def quarantined(self) -> Sequence[Digest]:
        """Return the digests of which bytes were moved aside.

        Raises:
            StoreUnavailableError: the disk does not say.
        """
        ...

    def has_quarantined(self, digest: Digest) -> bool:
        """Say whether bytes of the blob are there that were moved aside.

        Raises:
            StoreUnavailableError: the disk does not say.
        """
        ...

    def listing(self, shard: int) -> Listing:
        """Return what lies in a shard, one of `SHARDS`, as it is now or was a moment ago.

        Raises:
            StoreUnavailableError: the disk does not say.
        """
        ...

    def close(self) -> None:
        """Let go of everything. May be called twice."""
        ...


@runtime_checkable
class Filed(Protocol):
    """Optional: a backend that keeps each blob as a plain file."""

    def path_of(self, digest: Digest) -> Path:
        """Return where a blob's file is, if it is here."""
        ...


@runtime_checkable
class Measured(Protocol):
    """Optional: a backend that knows how much room it has."""

    def free_bytes(self) -> int:
        """Return what uploads may still take, the reserve and running uploads counted off."""
        ...
