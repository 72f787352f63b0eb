"""Ids of responses in the store of this process."""

from coatcheck.store import KeptResponse, Store, StoreError

from ..errors import NotKeptError, StoreUnavailableError
from .source import NamedResponse


class EmbeddedResponses:
    """A `ResponseSource` over a store that somebody else owns and closes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def put(
        self,
        tenant: str,
        response_id: str,
        named: NamedResponse,
        *,
        end_user: str | None = None,
    ) -> None:
        """Let an id name a list; see `ResponseSource.put`."""
        kept = KeptResponse(named.dialect, named.prompt, named.answered, named.upstream)
        try:
            await self._store.responses.put(tenant, response_id, kept, end_user=end_user)
        except StoreError as error:
            if error.retryable:
                raise StoreUnavailableError(str(error)) from error
            raise NotKeptError(str(error)) from error

    async def find(self, tenant: str, response_id: str) -> NamedResponse | None:
        """Return what an id names; see `ResponseSource.find`."""
        try:
            kept = await self._store.responses.find(tenant, response_id)
        except StoreError as error:
            raise StoreUnavailableError(str(error)) from error
        if kept is None:
            return None
        return NamedResponse(kept.dialect, kept.prompt, kept.answered, kept.upstream)

    async def remove(self, tenant: str, response_id: str) -> bool:
        """Let an id name nothing; see `ResponseSource.remove`."""
        try:
            return await self._store.responses.remove(tenant, response_id)
        except StoreError as error:
            raise StoreUnavailableError(str(error)) from error
