"""Prompts that were kept, so that no message is sent twice.

1. What was appended is there for the next expand at once, though it is written later. A crash
   loses what was not written yet: each such prompt costs its sender one `prompt_not_found`. Where
   other processes may get that next expand, an append ends when it is written.
2. An append or an expand keeps the prompt and all before it for `seconds` more. Like a lease that
   is written rarely: as long as more than 15/16 of the time is left, nothing is written.
3. What waits to be written is bounded in bytes, short messages too; an append waits for its room before it is kept.
4. A message with an end user's name is erased with it, and all that follows it. What two end users
   sent alike, or somebody without a name, is nobody's alone and stays.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from coatcheck.protocol import Digest, prompt_root

from . import prompt_erasing, prompt_table
from .changes import Changes
from .database import Database
from .dead import GRACE_SECONDS
from .errors import PromptNotFoundError, PromptTooLargeError, StoreClosedError, StoreFullError
from .index import Index
from .prompt_heads import PromptHeads
from .prompt_row import (
    Expansion,
    PromptHead,
    PromptKey,
    PromptMessage,
    PromptRow,
    message_bytes,
    rows_behind,
)
from .prompt_table import DamagedRowError, DamagedSpanError
from .prompt_writer import PromptWriter, Renewal
from .room import Room
from .term import Term

_logger = logging.getLogger(__name__)


class Prompts:
    """All prompts of one store. `start` comes first, `close` last."""

    def __init__(
        self,
        database: Database,
        index: Index,
        *,
        term: Term,
        max_prompt_bytes: int,
        pending_bytes: int,
        free_bytes: Callable[[], Awaitable[int]],
        clock: Callable[[], float],
        changes: Changes,
        is_shared: bool = False,
    ) -> None:
        """`free_bytes` says what may still be written without touching the reserve.

        `changes` stays the caller's.

        `is_shared` where other processes ask for the same prompts.
        """
        self.damaged_messages = 0
        """Kept messages that had rotted, since the start."""
        self._database = database
        self._index = index
        self._is_shared = is_shared
        self._free_bytes = free_bytes
        self._term = term
        self._max_prompt_bytes = max_prompt_bytes
        self._clock = clock
        self._heads = PromptHeads(changes)
        self._writer = PromptWriter(
            database, index, room=Room(pending_bytes), on_loss=self._heads.forget
        )

    def start(self) -> None:
        """Start the task that writes."""
        self._writer.start()

    async def append(
        self,
        tenant: str,
        dialect: str,
        parent: Digest,
        steps: Sequence[PromptMessage],
        *,
        end_user: str | None = None,
    ) -> None:
        """Keep the messages that follow `parent`, which is a kept prompt or the dialect's root.

        Appending what is there already keeps it longer; the text that came first stays. `end_user` is
        whom the messages are for, in the tenant's own words.

        Raises:
            PromptNotFoundError: the tenant has no such parent in this dialect.
            PromptTooLargeError: the list would be larger than is kept; nothing was kept.
            StoreFullError: it would take the room without which nothing can be deleted either.
            StoreUnavailableError: it could not be written, where others share the prompts.
            StoreClosedError: `close` was called before.
        """
        self._require_open()
        count = sum(message_bytes(step.text, step.blobs) for step in steps)
        if count > self._max_prompt_bytes:
            raise PromptTooLargeError(self._max_prompt_bytes)
        if await self._free_bytes() < count:
            raise StoreFullError("no space left for this prompt")
        await self._writer.room.take(count)
        try:
            stamp = self._heads.stamp(tenant)
            rows = await self._rows(PromptKey(tenant, dialect, parent), steps, end_user)
        except BaseException:
            self._writer.room.give_back(count)
            raise
        if rows:
            self._writer.add(rows)
            last = rows[-1]  # the next append continues it
            self._heads.remember(last.key, last.head, stamp)
            if self._is_shared:
                await self._writer.written()

    async def expand(self, tenant: str, dialect: str, digest: Digest) -> list[str] | None:
        """Return the JSON texts of all messages, oldest first; `None` when there is no such prompt.

        The dialect's root is a prompt of no messages.
        """
        now = self._clock()
        key = PromptKey(tenant, dialect, digest)
        stamp = self._heads.stamp(tenant)
        tail: list[str] = []
        at = key
        head: PromptHead | None = None
        while row := self._writer.find(at):
            head = head or row.head
            tail.append(row.text)
            at = PromptKey(tenant, dialect, row.parent)
        tail.reverse()
        if at.digest != prompt_root(dialect):
            found = await self._read(at)
            if found is None:
                return None
            tail = found.texts + tail
            head = head or found.head
        if head is None:
            return tail
        if self._heads.newest(key, head).expires_at <= now:
            return None
        self._renewed(key, head, now, stamp)
        return tail

    async def has(self, tenant: str, dialect: str, digest: Digest) -> bool:
        """Say whether a prompt is kept, for who knows its messages. A use, like an expand."""
        key = PromptKey(tenant, dialect, digest)
        if digest == prompt_root(dialect):
            return True
        now, stamp = self._clock(), self._heads.stamp(tenant)
        head = await self._head(key, now)
        if head is None:
            return False
        self._renewed(key, head, now, stamp)
        return True

    async def flush(self) -> None:
        """Wait until everything that was asked for before is written, with its holds."""
        await self._writer.flush()

    async def sweep(self) -> int:
        """Remove the messages that expired, those that nothing follows first; return how many.

        Raises:
            StoreClosedError, StoreFullError, StoreUnavailableError: some are still there.
        """
        before = self._clock() - GRACE_SECONDS  # an extension may be on its way
        removed = 0
        while count := await self._database.run(lambda c: prompt_table.remove_ended(c, before)):
            removed += count
        return removed

    async def erase_some(self, tenant: str, end_user: str | None) -> int:
        """Remove some of the tenant's messages, or of the end user's with what follows them.

        Returns how many; call it until there are none. Every process forgets what it knew of them.

        Raises:
            StoreClosedError, StoreFullError, StoreUnavailableError: some are still there.
        """
        await self.flush()
        batch = await self._database.read(lambda c: prompt_erasing.find(c, tenant, end_user))
        if not batch:
            return 0
        if end_user is not None:  # all of a tenant's holds go with its grants
            await self._index.end_prompt_holds(
                tenant,
                [(blob, message.digest) for message in batch for blob in message.blobs],
                self._clock(),
            )
        count = await self._database.run(lambda c: prompt_erasing.remove(c, batch, end_user))
        self._heads.forget_tenant(tenant)
        return count

    async def count_of(self, tenant: str, end_user: str | None) -> int:
        """Return how many written messages a tenant or one of its end users has; reads them all."""
        return await self._database.read(lambda c: prompt_erasing.count(c, tenant, end_user))

    async def clear_log(self, *, rewrite: bool) -> bool:
        """See `Database.clear_log`."""
        return await self._database.clear_log(rewrite=rewrite)

    async def check(self) -> None:
        """Ask for a prompt that nobody has.

        Raises:
            StoreClosedError, StoreUnavailableError: there is no answer.
        """
        key = PromptKey("", "", prompt_root(""))
        await self._database.read(lambda c: prompt_table.find_head(c, key, 0))

    async def count(self) -> int:
        """Return how many written messages live; reads the whole table, waits for no writing."""
        now = self._clock()
        return await self._database.read(lambda c: prompt_table.count_live(c, now))

    async def close(self) -> None:
        """Write what waits and end the task; no append may follow. May be called twice."""
        await self._writer.close()

    async def _read(self, key: PromptKey) -> Expansion | None:
        """Return what the table has; a message that rotted is removed, and so is no prompt any more.

        Of a span that rotted its messages have copies.
        """
        while True:
            try:
                return await self._database.read(lambda c: prompt_table.expand(c, key))
            except DamagedRowError as error:
                await self._remove(error)
                if not isinstance(error, DamagedSpanError):
                    return None

    async def _remove(self, damaged: DamagedRowError) -> None:
        _logger.error("%s", damaged)
        self.damaged_messages += 1
        await self._database.run(lambda c: prompt_table.remove(c, damaged))
        self._heads.forget()

    def _require_open(self) -> None:
        if self._writer.is_closing:
            raise StoreClosedError

    async def _rows(
        self, parent: PromptKey, steps: Sequence[PromptMessage], end_user: str | None
    ) -> list[PromptRow]:
        now = self._clock()
        self._require_open()
        stamp = self._heads.stamp(parent.tenant)
        head = await self._head(parent, now)
        self._require_open()
        if head is None:
            raise PromptNotFoundError(parent.digest)
        head = self._renewed(parent, head, now, stamp)
        rows = rows_behind(parent, head, steps, now, end_user)
        if rows and rows[-1].list_bytes > self._max_prompt_bytes:
            raise PromptTooLargeError(self._max_prompt_bytes)
        return rows

    async def _head(self, key: PromptKey, now: float) -> PromptHead | None:
        if key.digest == prompt_root(key.dialect):
            return PromptHead(0, 0, self._term.end(now))
        known = self._heads.find(key)
        if known is not None and known.expires_at > now:
            return known
        row = self._writer.find(key)
        if row is not None and row.expires_at > now:
            return row.head
        return await self._database.read(lambda c: prompt_table.find_head(c, key, now))

    def _renewed(self, key: PromptKey, head: PromptHead, now: float, stamp: int) -> PromptHead:
        """Return the head as it is after this use; ask for the writing if that is due."""
        head = self._heads.newest(key, head)
        if not self._writer.is_closing and not self._term.is_fresh(head.expires_at, now):
            head = replace(head, expires_at=self._term.end(now))
            self._writer.renew(Renewal(key, now, head.expires_at))
        if head.depth:
            self._heads.remember(key, head, stamp)
        return head
