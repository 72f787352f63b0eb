"""Ids of upstreams' responses, so that a next request can name one in place of all before it.

1. An id that was put is there for every process, with the messages of its list, also after a crash of
   any process: it is written behind them. A power cut may lose both.
2. It lives exactly as long as its list: with it, it expires and is erased.
3. An id is a tenant's own. What another tenant has by the same id is another response.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from coatcheck.protocol import Digest, InvalidDigestError

from . import response_table
from .database import Database
from .errors import PromptNotFoundError
from .prompt_row import PromptKey
from .prompts import Prompts


@dataclass(frozen=True, slots=True)
class KeptResponse:
    """What an id names: a kept list that ends with the answer."""

    dialect: str
    prompt: Digest
    answered: int
    """How many messages at the list's end are the answer."""
    upstream: str
    """Whose answer it was, by the name that the daemon's settings give it."""


class Responses:
    """The ids of one store. The database is that of its prompts, and belongs to somebody else."""

    def __init__(self, database: Database, prompts: Prompts, clock: Callable[[], float]) -> None:
        self._database = database
        self._prompts = prompts
        self._clock = clock

    async def put(
        self,
        tenant: str,
        response_id: str,
        kept: KeptResponse,
        *,
        end_user: str | None = None,
    ) -> None:
        """Let an id name a list that was kept before. May be called twice; the last call counts.

        `end_user` is whom the turn was for, in the tenant's own words.

        Raises:
            PromptNotFoundError: the tenant has no such list in this dialect.
            StoreClosedError, StoreFullError, StoreUnavailableError: nothing was written.
        """
        await self._prompts.flush()
        key = PromptKey(tenant, kept.dialect, kept.prompt)
        is_put = await self._database.run(
            lambda c: response_table.put(
                c,
                response_id,
                key,
                answered=kept.answered,
                upstream=kept.upstream,
                created_at=self._clock(),
                end_user=end_user,
            )
        )
        if not is_put:
            raise PromptNotFoundError(kept.prompt)

    async def find(self, tenant: str, response_id: str) -> KeptResponse | None:
        """Return what an id names; its list may have expired, which only expanding it tells.

        Raises:
            StoreClosedError, StoreUnavailableError: there is no answer.
        """
        found = await self._database.read(lambda c: response_table.find(c, tenant, response_id))
        if found is None:
            return None
        dialect, digest, answered, upstream = found
        with contextlib.suppress(InvalidDigestError):  # it has rotted, and names nothing
            return KeptResponse(dialect, Digest(digest), answered, upstream)
        return None

    async def remove(self, tenant: str, response_id: str) -> bool:
        """Let an id name nothing; return whether it named something. Its list stays as it is.

        Raises:
            StoreClosedError, StoreFullError, StoreUnavailableError: it may be there still.
        """
        gone = await self._database.run(lambda c: response_table.remove(c, tenant, response_id))
        return gone > 0

    async def erase_some(self, tenant: str, end_user: str) -> int:
        """Remove some ids of an end user's; return how many. Call it until there are none.

        Those of a tenant go with its messages.

        Raises:
            StoreClosedError, StoreFullError, StoreUnavailableError: some are still there.
        """
        return await self._database.run(lambda c: response_table.remove_some(c, tenant, end_user))

    async def count_of(self, tenant: str, end_user: str | None) -> int:
        """Return how many ids a tenant or one of its end users has."""
        return await self._database.read(lambda c: response_table.count(c, tenant, end_user))
