"""What is kept of one answer: its messages behind the prompt, its bytes as blobs."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from coatcheck.protocol import (
    ANSWER_FORMS,
    SNIFF_BYTES,
    AnswerForm,
    Dialect,
    Digest,
    FoundInline,
    InlineBlob,
    Json,
    ModelAnswer,
    ProtocolError,
    Ref,
    Slot,
    inline_ref,
    sniff,
)

from ..keeper import Keeper
from ..meters import Meters
from .limits import AnswerLimits

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
Named: TypeAlias = Callable[[str, Digest, int], Awaitable[None]]
"""Told of an answer that is kept: what its provider calls it, what the list with it is called, and how
many messages at that list's end it has."""


@dataclass(frozen=True, slots=True)
class AnsweredTurn:
    """The turn whose answer comes: whose it is, in which dialect, and what its client wants.

    `prompt` is what is kept of it; None: nothing is. An answer that `is_streamed` is so in JSON too: then
    nothing of it is held. Where the client used an envelope, it `takes_comments` in a stream; not every
    reader of events knows them (the `google-genai` package does not, in version 3).
    """

    tenant: str
    dialect: Dialect
    end_user: str | None
    prompt: Digest | None = None
    is_streamed: bool = False
    takes_comments: bool = False
    wants_refs: bool = False
    named: Named | None = None
    """Who is told of it before the client has its end."""

    @property
    def form(self) -> AnswerForm:
        """How its answer is read."""
        return ANSWER_FORMS[self.dialect.name]


class AnswerKeeping:
    """Keeps one answer. Nothing here fails a turn, and all of it ends within a bounded time."""

    def __init__(
        self, keeper: Keeper, limits: AnswerLimits, meters: Meters, turn: AnsweredTurn
    ) -> None:
        self.limits = limits
        self._meters = meters
        self.turn = turn
        self._keeper = keeper

    async def append(self, answer: ModelAnswer | None) -> Digest | None:
        """Keep an answer behind its prompt, and return what both are called; None: it is not kept."""
        prompt = self.turn.prompt
        if answer is None or prompt is None:
            return None
        named = await self._within(self._append(prompt, answer))
        if answer.messages:
            self._meters.answer("refused" if named is None else "kept")
        return named

    async def put_refs(self, value: Json) -> bool:
        """Put refs in place of what a whole answer, or an event, carries inline; say whether any.

        What they name is stored before.
        """
        found = await asyncio.to_thread(_inline, self.turn, value)
        if not found:
            return False
        blobs = [each.blob for each in found]
        taken = await self._within(self._keeper.take(self.turn.tenant, blobs, self.turn.end_user))
        if not taken:
            return False
        for each in found:
            each.slot.put_ref(each.ref)
        return True

    async def _append(self, prompt: Digest, answer: ModelAnswer) -> Digest | None:
        """Keep an answer; one of no messages leaves the list as it is, and may have a name all the same."""
        turn, messages = self.turn, answer.messages
        kept: Digest | None = prompt
        if messages:
            keep = self._keeper.keep(turn.tenant, turn.dialect, prompt, messages, (), turn.end_user)
            kept = (await keep).prompt
        if kept is not None and answer.id is not None and turn.named is not None:
            await turn.named(answer.id, kept, len(messages))
        return kept if messages else None

    async def _within(self, work: Awaitable[_T]) -> _T | None:
        try:
            async with asyncio.timeout(self.limits.append_seconds):
                return await work
        except TimeoutError:
            _log.warning("answer not kept: it took over %g seconds", self.limits.append_seconds)
        except ProtocolError as error:
            _log.warning("answer not kept: %s", error)
        return None


@dataclass(frozen=True, slots=True)
class _Inline:
    slot: Slot
    ref: Ref
    blob: InlineBlob


def _inline(turn: AnsweredTurn, value: Json) -> Sequence[_Inline]:
    """Return what a value carries inline, decoded one at a time."""
    form = turn.form
    try:
        slots = [*turn.dialect.walk(form.carried(value)), *form.passing(value)]
    except ProtocolError:
        return ()
    found: list[_Inline] = []
    for slot in slots:
        inline = slot.found
        data = inline.decode() if isinstance(inline, FoundInline) else None
        if isinstance(inline, FoundInline) and data is not None:
            digest = Digest.of(data)
            ref = inline_ref(inline, digest, sniff(data[:SNIFF_BYTES]))
            found.append(_Inline(slot, ref, InlineBlob(0, digest, inline)))
    return found
