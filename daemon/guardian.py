"""What a turn that asks is told of its prefix: looked at beside the forward."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

from coatcheck.protocol import (
    LEADING_KEYS,
    PREFIX_HEADER,
    Dialect,
    framed,
    messages_in,
    put_back,
    write_prefix,
)
from coatcheck.web import in_thread_if

from .meters import Meters
from .prefix_guard import Outline, PrefixGuard
from .received import Received
from .turn import Turn
from .upstream import Upstream

Outlining: TypeAlias = Callable[[], Outline]
"""Makes the outline of a turn; for a thread."""


class Guardian:
    """Joins the prefix guard to the gateway. Belongs to the event loop."""

    def __init__(self, guard: PrefixGuard, meters: Meters) -> None:
        self._guard = guard
        self._meters = meters

    async def outline(self, turn: Turn, received: Received, dialect: Dialect) -> Outlining:
        """Copy the messages, into which hydration writes; return what makes their outline of them."""
        listed = dialect.list_messages(messages_in(dialect, turn.body)) or []
        messages = await in_thread_if(turn.size, lambda: [put_back(each) for each in listed])
        keys = LEADING_KEYS.get(dialect.name, ())
        beside = framed(dialect, turn.body)
        leading = {key: put_back(beside[key]) for key in keys if key in beside}
        tenant, model = received.tenant, received.parsed.model
        return partial(self._guard.outline, tenant, dialect, model, messages, leading, turn.origins)

    async def headers(self, outlining: Outlining, upstream: Upstream) -> Mapping[str, str]:
        """Return the header that says what became of the conversation's prefix."""
        report = self._guard.look(await asyncio.to_thread(outlining))
        if not upstream.config.observe:  # else it is counted there
            self._meters.prefix(upstream.config.name, report.outcome)
        return {PREFIX_HEADER: write_prefix(report)}
