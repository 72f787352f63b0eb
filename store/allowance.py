"""What uploads may still bring in: their tenant's quota, and the limit of the whole store.

1. Room is set aside before a byte is written, for what an upload says it brings, or as it grows.
2. What is refused here depends on sizes and sums alone, never on which blobs are known, so that a
   refusal says nothing about what others have. The index has the last word on a quota.
3. What is being committed counts in the index too for a moment. Nobody is refused by that: who would be
   waits until it stands there alone.
4. What other processes have set aside is not seen: together they may pass the store's limit by the
   uploads that run at once. Each of them asks the index again after `seconds`.

Belongs to the event loop.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

from .config import Quotas
from .errors import QuotaExceededError, StoreFullError

SECONDS: Final = 1.0
"""How long a sum of the index is believed."""


class StoredSums(Protocol):
    """What is stored, as the index has it."""

    async def tenant_bytes(self, tenant: str, now: float) -> int:
        """Return what counts against a tenant's quota."""
        ...

    async def stored_bytes(self) -> int:
        """Return what counts against the store's limit."""
        ...

    async def end_holds_of(self, tenant: str, now: float) -> None:
        """Let go of what a tenant holds no longer."""
        ...


@dataclass(slots=True)
class _Known:
    used_bytes: int
    asked_at: float


class Allowances:
    """Keeps account of what running uploads have set aside."""

    def __init__(
        self,
        index: StoredSums,
        quotas: Quotas,
        max_store_bytes: int | None,
        make_room: Callable[[int], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        """`make_room` removes so many bytes that nobody holds, or as many as there are."""
        self._index = index
        self._quotas = quotas
        self._max_store_bytes = max_store_bytes
        self._make_room = make_room
        self._clock = clock
        self._set_aside: Counter[str] = Counter()
        self._sums: dict[str | None, _Known] = {}
        self._asked: dict[str | None, object] = {}
        """The newest question of each sum, unless the sum has changed since."""
        self._committing: dict[asyncio.Future[None], tuple[str, int]] = {}

    def quota_bytes(self, tenant: str) -> int | None:
        """Return how many logical bytes the tenant may hold."""
        return self._quotas.of(tenant)

    def begin(self, tenant: str) -> "Allowance":
        """Return an upload's own account; enter it, and leave it when the upload has ended."""
        return Allowance(self, tenant)

    async def set_aside(self, tenant: str, more_bytes: int) -> None:
        """Set bytes aside beside all that are; see `Allowance.cover`."""
        self._set_aside[tenant] += more_bytes  # before anything is awaited: others see it
        try:
            await self._check_quota(tenant)
            await self._check_limit()
        except BaseException:
            self.give_back(tenant, more_bytes)
            raise

    def give_back(self, tenant: str, count: int) -> None:
        """End the setting aside; what was stored stands in the index from now on."""
        self._set_aside[tenant] -= count
        if not self._set_aside[tenant]:
            del self._set_aside[tenant]
        for of in (tenant, None):
            self._sums.pop(of, None)
            self._asked.pop(of, None)

    def begin_commit(self, tenant: str, count: int) -> Callable[[], None]:
        """Note that so many bytes may stand in the index from now on; call what is returned to end it."""
        ended = asyncio.get_running_loop().create_future()
        self._committing[ended] = (tenant, count)

        def end() -> None:
            del self._committing[ended]
            ended.set_result(None)

        return end

    async def _check_quota(self, tenant: str) -> None:
        quota = self._quotas.of(tenant)
        if quota is None:
            return
        used = await self._sum(tenant, lambda: self._index.tenant_bytes(tenant, self._clock()))
        if used + self._set_aside[tenant] <= quota:
            return
        await self._let_commits_end()
        now = self._clock()
        await self._index.end_holds_of(tenant, now)  # what is dead makes room, unswept too
        used = await self._index.tenant_bytes(tenant, now)
        if used + self._beside(tenant) > quota:
            raise QuotaExceededError(used, quota)

    async def _check_limit(self) -> None:
        limit = self._max_store_bytes
        if limit is None:
            return
        stored = await self._sum(None, self._index.stored_bytes)
        if stored + self._set_aside.total() <= limit:
            return
        await self._let_commits_end()
        over = await self._index.stored_bytes() + self._beside() - limit
        if over > 0:
            await self._make_room(over)
            over = await self._index.stored_bytes() + self._beside() - limit
        self._sums.pop(None, None)
        if over > 0:
            # No sum: it grows by bytes that are new alone, and so tells whether others had them.
            raise StoreFullError(
                "the store holds all that it may, and this does not fit: let go of blobs that are "
                "no longer needed"
            )

    async def _let_commits_end(self) -> None:
        if self._committing:
            await asyncio.wait(list(self._committing))

    def _beside(self, tenant: str | None = None) -> int:
        """Return what is set aside beside the index's sum just asked for: by a tenant, or by all.

        What began to be committed meanwhile may be in the sum.
        """
        of = [count for by, count in self._committing.values() if tenant in (None, by)]
        whole = self._set_aside.total() if tenant is None else self._set_aside[tenant]
        return whole - sum(of)

    async def _sum(self, of: str | None, ask: Callable[[], Awaitable[int]]) -> int:
        """Return a tenant's bytes, or the store's, as they were a moment ago at most."""
        now = self._clock()
        known = self._sums.get(of)
        # A clock that was set back makes a sum old, not new.
        if known is not None and 0 <= now - known.asked_at < SECONDS:
            return known.used_bytes
        asked = self._asked[of] = object()
        used = await ask()
        if self._asked.get(of) is asked:
            del self._asked[of]
            self._sums[of] = _Known(used, now)
        return used


class Allowance:
    """What one upload has set aside."""

    def __init__(self, allowances: Allowances, tenant: str) -> None:
        self._allowances = allowances
        self._tenant = tenant
        self._covered_bytes = 0
        self._end_commit: Callable[[], None] | None = None

    async def cover(self, total_bytes: int) -> None:
        """Set aside for so many bytes in all; does nothing where that much is covered already.

        Raises:
            QuotaExceededError: the tenant would hold more than its quota.
            StoreFullError: the store would hold more than its limit.
        """
        more = total_bytes - self._covered_bytes
        if more > 0:
            await self._allowances.set_aside(self._tenant, more)
            self._covered_bytes = total_bytes

    def begin_commit(self) -> None:
        """Say that what is covered may stand in the index from now on, until `give_back`.

        Nothing more is covered before that. May be called twice.
        """
        if self._end_commit is None:
            self._end_commit = self._allowances.begin_commit(self._tenant, self._covered_bytes)

    def give_back(self) -> None:
        """End the setting aside: what was stored of it stands in the index. May be called twice."""
        if self._end_commit is not None:
            self._end_commit()
            self._end_commit = None
        covered, self._covered_bytes = self._covered_bytes, 0
        if covered:
            self._allowances.give_back(self._tenant, covered)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.give_back()
