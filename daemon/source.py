"""Where the daemon gets blobs and prompts from, embedded or remote.

Each interface is one ability. Implementations: `embedded.py` over a store in this process; a
remote one speaks to a store over HTTP. A digest that a tenant holds no grant for is absent from
every answer, like one that does not exist.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from coatcheck.protocol import Digest


@dataclass(frozen=True, slots=True)
class Resolved:
    """A blob that a tenant may use. `media_type` is how a bare ref presents it."""

    digest: Digest
    size: int
    media_type: str


@dataclass(frozen=True, slots=True)
class KeptMessage:
    """One message to keep: the digest of the list up to it, its JSON text, the blobs it names."""

    digest: Digest
    text: str
    blobs: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class PromptKey:
    """What names a prompt: the same digest of another tenant or dialect is another prompt."""

    tenant: str
    dialect: str
    digest: Digest


class PieceReader(Protocol):
    """An open blob. One piece is held at a time."""

    @property
    def size(self) -> int:
        """Bytes of the blob."""
        ...

    async def read_piece(self, index: int) -> memoryview:
        """Return piece `index`, verified; the view is good until the next call.

        Raises:
            BlobUnreadableError: the bytes fail their checksum, or cannot be read.
        """
        ...

    async def close(self) -> None:
        """Let go of the file. May be called twice."""
        ...


class HeldFile(Protocol):
    """A blob's plain file, which is there until this is closed."""

    @property
    def path(self) -> Path:
        """Where."""
        ...

    def close(self) -> None:
        """Let it go. May be called twice."""
        ...


@runtime_checkable
class FiledReader(PieceReader, Protocol):
    """A reader that may read a plain file."""

    def hold(self) -> HeldFile | None:
        """Return its file, to be kept longer than the reader; None where the bytes come from elsewhere."""
        ...


class BlobSource(Protocol):
    """Blobs, by digest and tenant."""

    @property
    def name(self) -> str:
        """What the cache inspection calls it: `store`, `disk`, .."""
        ...

    async def resolve(self, tenant: str, digests: Collection[Digest]) -> dict[Digest, Resolved]:
        """Return those of `digests` that the tenant holds; using one renews its lease."""
        ...

    async def find_files(self, tenant: str, file_ids: Collection[str]) -> dict[str, Digest]:
        """Return what those of the file ids name that the tenant has; a use of each blob.

        Raises:
            StoreUnavailableError: the store is away.
        """
        ...

    async def prepare(self, tenant: str, blobs: Collection[Resolved]) -> Collection[Digest]:
        """Bring blobs that were just resolved to where opening them waits for nobody.

        Returns those that turn out to be gone.

        Raises:
            StoreUnavailableError: the store is away.
            StoreRefusedError, WrongBytesError: it does not give them, or gives others.
        """
        ...

    async def open(self, tenant: str, digest: Digest) -> PieceReader:
        """Open a blob for reading.

        Raises:
            BlobUnreadableError: the tenant does not hold it any more.
            what `prepare` raises.
        """
        ...

    async def claim(
        self, tenant: str, digests: Collection[Digest], end_user: str
    ) -> Collection[Digest]:
        """Return those that the tenant holds; they are for the end user too from then on.

        Raises:
            StoreUnavailableError: the store is away.
        """
        ...

    async def held(self, tenant: str, digests: Collection[Digest]) -> Collection[Digest]:
        """Return those of `digests`, at most a thousand, that the tenant holds; none is used.

        Raises:
            StoreUnavailableError: the store is away.
        """
        ...

    async def absorb(
        self, tenant: str, data: bytes, media_type: str | None, *, end_user: str | None = None
    ) -> Digest:
        """Take bytes that came inline, verified like any upload; `end_user` is whom they are for.

        Raises:
            NotKeptError: they are empty or too large, or there is no room.
            StoreUnavailableError: the store is away.
        """
        ...


class PromptSource(Protocol):
    """Prompts, by digest, tenant and dialect."""

    async def expand(self, tenant: str, dialect: str, digest: Digest) -> list[str] | None:
        """Return the JSON texts of a kept list, oldest first; None when it is not kept."""
        ...

    async def append(
        self,
        tenant: str,
        dialect: str,
        parent: Digest,
        messages: Sequence[KeptMessage],
        *,
        end_user: str | None = None,
    ) -> None:
        """Keep messages that continue `parent`, in order. Keeping one again renews it.

        `end_user` is whom the turn is for.

        Raises:
            NotKeptError: the prompt would be too large.
            StoreUnavailableError: the store is away.
        """
        ...
