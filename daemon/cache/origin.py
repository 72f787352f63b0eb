"""Where copies come from."""

from typing import Protocol

from coatcheck.client import Sink
from coatcheck.protocol import Digest


class Flow(Protocol):
    """A blob's bytes as they come."""

    async def read(self) -> bytes:
        """Wait for the next bytes; empty at the end.

        Raises:
            StoreUnavailableError: they stopped coming.
        """
        ...

    def close(self) -> None:
        """Let go of the connection. May be called twice."""
        ...


class Origin(Protocol):
    """A store, as the cache asks it. What it raises passes through the cache."""

    async def fetch(self, tenant: str, digest: Digest, sink: Sink) -> None:
        """Stream a blob into `sink`, whose methods block and are called in threads.

        Raises:
            BlobUnreadableError: the tenant does not hold it any more.
            StoreUnavailableError: the store is away.
        """
        ...

    async def open(self, tenant: str, digest: Digest) -> Flow:
        """Open a blob, to be read as it comes; raises the same. The caller closes it."""
        ...
