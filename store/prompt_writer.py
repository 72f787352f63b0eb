"""Kept messages on their way into SQL, written later by one task.

1. What waits is found here until it is written, and then in the table: never in neither.
2. What waits is bounded by `room`, which whoever adds messages takes before.
3. A message's blobs get a hold in the index before the message is written, with its expiry.
4. What cannot be written is lost, with all that waits behind it and may build on it. What follows a
   message that was erased meanwhile is lost alone.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from . import prompt_table
from .database import Database
from .errors import StoreError, StoreUnavailableError
from .index import Index
from .index_rows import PromptHold
from .prompt_row import PromptKey, PromptRow, message_bytes
from .prompt_span import Stretch
from .room import Room

_logger = logging.getLogger(__name__)

# So that a long list's holds do not keep others from the index: about 20 ms a turn.
_HOLDS_AT_ONCE = 200
# Nor a long list's messages others from the prompts: about 30 ms a turn.
_ROWS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Renewal:
    """A use of a prompt that keeps it, and all before it, longer."""

    key: PromptKey
    asked_at: float
    expires_at: float


@dataclass(slots=True)
class _Batch:
    """What waits to be written."""

    rows: list[PromptRow] = field(default_factory=list[PromptRow])
    renewals: list[Renewal] = field(default_factory=list[Renewal])

    def __bool__(self) -> bool:
        return bool(self.rows or self.renewals)


class PromptWriter:
    """Writes for one `Prompts`. `start` comes first, `close` last."""

    def __init__(
        self, database: Database, index: Index, *, room: Room, on_loss: Callable[[], None]
    ) -> None:
        """`on_loss` is called when messages were lost, before anybody can ask for them."""
        self.room = room
        """What waiting messages take; given back as it is written or lost."""
        self._database = database
        self._index = index
        self._on_loss = on_loss
        self._pending: dict[PromptKey, PromptRow] = {}
        self._waiting = _Batch()
        # How many times something was added, and how many of them are done.
        self._asked = 0
        self._done = 0
        self._losses = 0
        self._changed = asyncio.Condition()
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    @property
    def is_closing(self) -> bool:
        """Whether nothing may be added any more."""
        return self._closing

    def start(self) -> None:
        """Start the task that writes."""
        self._task = asyncio.create_task(self._write_until_closed())

    def find(self, key: PromptKey) -> PromptRow | None:
        """Return a message that waits."""
        return self._pending.get(key)

    def add(self, rows: Sequence[PromptRow]) -> None:
        """Write messages soon, which took their room."""
        for row in rows:
            self._pending[row.key] = row
        self._waiting.rows += rows
        self._ask()

    def renew(self, renewal: Renewal) -> None:
        """Write an extension soon, after all that was added before."""
        self._waiting.renewals.append(renewal)
        self._ask()

    async def flush(self) -> None:
        """Wait until everything that was added before is written, with its holds, or lost."""
        target = self._asked
        if self._done < target:
            async with self._changed:
                await self._changed.wait_for(lambda: self._done >= target)

    async def written(self) -> None:
        """Wait until everything that was added before is written.

        Raises:
            StoreUnavailableError: some of it, or of what was added meanwhile, was lost.
        """
        before = self._losses
        await self.flush()
        if self._losses != before:
            raise StoreUnavailableError("the messages could not be written")

    async def close(self) -> None:
        """Write what waits and end the task. May be called twice."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.shield(self._task)

    def _ask(self) -> None:
        self._asked += 1
        self._wake.set()

    async def _write_until_closed(self) -> None:
        while self._waiting or not self._closing:
            await self._wake.wait()
            self._wake.clear()
            batch, self._waiting, asked = self._waiting, _Batch(), self._asked
            try:
                await self._write(batch)
            except StoreError as error:
                _logger.error("kept messages could not be written and are lost: %s", error)
                batch, asked = self._give_up(batch), self._asked
            except Exception:
                _logger.exception("kept messages could not be written and are lost")
                batch, asked = self._give_up(batch), self._asked
            self._settle(batch.rows)
            self._done = asked
            async with self._changed:
                self._changed.notify_all()

    async def _write(self, batch: _Batch) -> None:
        if batch.rows:
            await self._hold(
                PromptHold(row.key.tenant, blob, row.key.digest, row.created_at, row.expires_at)
                for row in batch.rows
                for blob in row.blobs
            )
            written = await self._put(batch.rows)
            if written < len(batch.rows):
                _logger.warning(
                    "%d messages follow erased ones and were not kept", len(batch.rows) - written
                )
                self._losses += 1
                self._on_loss()
        for renewal in batch.renewals:
            await self._renew(renewal)

    async def _put(self, rows: Sequence[PromptRow]) -> int:
        """Write rows, each behind its parent, and return how many."""
        written = 0
        for at in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[at : at + _ROWS_AT_ONCE]
            written += await self._database.run(partial(prompt_table.put_rows, rows=some))
        return written

    async def _renew(self, renewal: Renewal) -> None:
        """Extend a list, its first messages first, a bounded number at a time: others wait meanwhile."""
        key = renewal.key
        found = await self._database.read(lambda c: prompt_table.find_stretches(c, key))
        for stretch in found:
            await self._renew_some(renewal, stretch)

    async def _renew_some(self, renewal: Renewal, stretch: Stretch) -> None:
        key, expires_at = renewal.key, renewal.expires_at
        named = await self._database.read(lambda c: prompt_table.named_blobs(c, key, stretch))
        await self._hold(
            PromptHold(key.tenant, blob, prompt, renewal.asked_at, expires_at)
            for prompt, blob in named
        )
        await self._database.run(lambda c: prompt_table.extend(c, key, stretch, expires_at))

    async def _hold(self, wanted: Iterable[PromptHold]) -> None:
        holds = list(wanted)
        for at in range(0, len(holds), _HOLDS_AT_ONCE):
            await self._index.hold_for_prompts(holds[at : at + _HOLDS_AT_ONCE])

    def _give_up(self, batch: _Batch) -> _Batch:
        lost = _Batch(batch.rows + self._waiting.rows)
        self._waiting = _Batch()
        self._losses += 1
        self._on_loss()
        return lost

    def _settle(self, rows: Sequence[PromptRow]) -> None:
        for row in rows:
            self.room.give_back(message_bytes(row.text, row.blobs))
            if self._pending.get(row.key) is row:
                del self._pending[row.key]
