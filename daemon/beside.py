"""What runs beside the forward of a turn: its messages are kept, and its prefix is looked at.

Both give headers, which are awaited before the answer's go out.
"""

import asyncio
from collections.abc import Mapping
from typing import TypeAlias

from coatcheck.protocol import Dialect

from .guardian import Guardian, Outlining
from .keeper import Keeper
from .sent import Sent
from .upstream import Upstream
from .wish import Wish, awaited, kept_headers

_Headers: TypeAlias = asyncio.Task[Mapping[str, str]]


class Beside:
    """The work beside one forward. Close it."""

    def __init__(
        self, keeping: _Headers | None, guarding: _Headers | None, known: Mapping[str, str]
    ) -> None:
        """`known` are headers that need no work."""
        self._keeping = keeping
        self._guarding = guarding
        self._known = known

    async def kept(self) -> Mapping[str, str]:
        """Return the headers of what was kept, when it is."""
        return await awaited(self._keeping)

    async def headers(self) -> Mapping[str, str]:
        """Return all headers, when the work is done."""
        return {**await awaited(self._keeping), **await awaited(self._guarding), **self._known}

    async def close(self) -> None:
        """End what goes on. May be called twice."""
        tasks = [task for task in (self._keeping, self._guarding) if task]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)


class Besides:
    """Begins the work beside forwards. Owns nothing."""

    def __init__(self, keeper: Keeper, guardian: Guardian) -> None:
        self._keeper = keeper
        self._guardian = guardian

    def begin(
        self,
        tenant: str,
        dialect: Dialect,
        upstream: Upstream,
        wish: Wish,
        sent: Sent | None,
        outline: Outlining | None,
        known: Mapping[str, str],
    ) -> Beside:
        """Begin what a turn wishes: `sent` is what came, where any of it is used again.

        The headers `known` join those of the work.
        """
        keeping = self._begin_keeping(sent, tenant, dialect, wish) if sent else None
        guarding = (
            asyncio.create_task(self._guardian.headers(outline, upstream)) if outline else None
        )
        return Beside(keeping, guarding, known)

    def _begin_keeping(
        self, sent: Sent, tenant: str, dialect: Dialect, wish: Wish
    ) -> _Headers | None:
        """Keep what was asked for, which gives headers; else absorb images in the background."""
        messages, origins, end_user = sent.messages, sent.origins, sent.end_user
        if wish.is_kept:
            keep = self._keeper.keep(
                tenant, dialect, sent.parent, messages, origins, end_user, sent.beside
            )
            return asyncio.create_task(kept_headers(keep, wish, sent.start))
        if wish.is_named:
            absorb = self._keeper.absorb(tenant, dialect, messages, origins, end_user)
            return asyncio.create_task(kept_headers(absorb, wish, sent.start))
        self._keeper.absorb_later(tenant, dialect, messages, origins, end_user)
        return None
