"""Where the daemon keeps what responses are called, embedded or remote."""

from dataclasses import dataclass
from typing import Protocol

from coatcheck.protocol import Digest


@dataclass(frozen=True, slots=True)
class NamedResponse:
    """The kept list that a response ended."""

    dialect: str
    prompt: Digest
    """The list with the answer."""
    answered: int
    """How many of its last messages are the answer's."""
    upstream: str
    """Whose answer it was."""


class ResponseSource(Protocol):
    """Ids of responses, by tenant. One that a tenant does not have is like one that does not exist."""

    async def put(
        self,
        tenant: str,
        response_id: str,
        named: NamedResponse,
        *,
        end_user: str | None = None,
    ) -> None:
        """Let an id name a list that was kept before; it survives this process then.

        Raises:
            NotKeptError: the list is not kept, or there is no room.
            StoreUnavailableError: the store is away.
        """
        ...

    async def find(self, tenant: str, response_id: str) -> NamedResponse | None:
        """Return what an id names; the list may have expired since.

        Raises:
            StoreUnavailableError: the store is away.
        """
        ...

    async def remove(self, tenant: str, response_id: str) -> bool:
        """Let an id name nothing; return whether it named something.

        Raises:
            StoreUnavailableError: the store is away.
        """
        ...
