"""Ids of responses in a store elsewhere, remembered like what else it says.

While it is away, ids are known here that it is yet to be told. Who removes an id tells the daemon's other processes; other daemons believe it for half a minute more.
"""

from collections.abc import Awaitable, Callable

from coatcheck.client import PromptNotFoundError, ServerError, StoreLink
from coatcheck.protocol import ResponseName

from ..availability import Availability, not_kept
from ..errors import StoreUnavailableError
from ..remembered import STALE_SECONDS, Remembered
from .outbox import ResponseKey, ResponseOutbox
from .source import NamedResponse


class RemoteResponses:
    """A `ResponseSource` over a link that somebody else owns. Close it before that."""

    def __init__(
        self,
        link: StoreLink,
        availability: Availability,
        clock: Callable[[], float],
        *,
        settled: Callable[[], Awaitable[None]],
        on_removed: Callable[[str, str], Awaitable[None]],
    ) -> None:
        """`clock` gives Unix seconds.

        `settled` returns when the store has the messages that were kept before, or they are lost;
        `on_removed` is told tenant and id, to tell others.
        """
        self._link = link
        self._availability = availability
        self._clock = clock
        self._on_removed = on_removed
        self._known: Remembered[ResponseKey, NamedResponse] = Remembered()
        self._outbox = ResponseOutbox(self._bring, settled)

    async def put(
        self,
        tenant: str,
        response_id: str,
        named: NamedResponse,
        *,
        end_user: str | None = None,
    ) -> None:
        """Let an id name a list, here at first where the store is away; see `ResponseSource.put`."""
        await self._outbox.put((tenant, response_id), named, end_user)

    async def find(self, tenant: str, response_id: str) -> NamedResponse | None:
        """Return what an id names; see `ResponseSource.find`."""
        now, key = self._clock(), (tenant, response_id)
        if (named := self._outbox.find(key)) is not None:
            return named
        if (known := self._known.get(key, now)) is not None:
            return known
        ticket = self._known.ticket(key)
        try:
            async with self._availability.asking():
                told = await self._link.find_response(tenant, response_id)
        except StoreUnavailableError:
            known = self._known.get(key, now, max_age_seconds=STALE_SECONDS)
            if known is None:
                raise
            return known
        if told is None:
            return None
        named = NamedResponse(told.dialect, told.prompt, told.answered, told.upstream)
        self._known.put(key, named, now, ticket)
        return named

    async def remove(self, tenant: str, response_id: str) -> bool:
        """Let an id name nothing; see `ResponseSource.remove`."""
        is_dropped = await self._outbox.drop((tenant, response_id))
        async with self._availability.asking():
            is_gone = await self._link.remove_response(tenant, response_id) or is_dropped
        self.removed(tenant, response_id)
        await self._on_removed(tenant, response_id)
        return is_gone

    def removed(self, tenant: str, response_id: str) -> None:
        """Learn that an id names nothing any more: the store is asked the next time."""
        self._known.forget((tenant, response_id))

    async def flush(self) -> None:
        """Return when what was put before is with the store, or lost."""
        await self._outbox.flush()

    async def close(self) -> None:
        """Bring what is on its way, for a short time. May be called twice."""
        await self._outbox.close()

    async def _bring(self, key: ResponseKey, named: NamedResponse, end_user: str | None) -> None:
        """Tell the store."""
        tenant, response_id = key
        ticket = self._known.ticket(key)
        name = ResponseName(
            dialect=named.dialect,
            prompt=named.prompt,
            answered=named.answered,
            upstream=named.upstream,
        )
        async with self._availability.asking():
            try:
                await self._link.put_response(tenant, response_id, name, end_user=end_user)
            except (PromptNotFoundError, ServerError) as error:
                raise not_kept(error) from error
        self._known.put(key, named, self._clock(), ticket)
