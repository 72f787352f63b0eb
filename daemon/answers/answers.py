"""Answers on their way back: kept with their prompts, named, and their images with them.

1. Only an answer whose turn is kept, or whose client asks for refs, is read before it goes on. Others pass
   as they come; images in them are taken in afterwards, when there is room.
2. An answer is appended whole or not at all: what was cut off, is an error or cannot be understood has
   no name.
3. Nothing here fails a turn. What waits for a store waits a bounded time: the client sends again what has
   no name, and keeps the base64 of what has no ref.
"""

import asyncio
from collections.abc import Callable, Sequence

from coatcheck.protocol import Json
from coatcheck.web import ProblemError, parse_codings

from ..keeper import Keeper
from ..meters import Meters
from ..upstream import Answer
from .events import AnswerEvents
from .keeping import AnsweredTurn, AnswerKeeping
from .limits import AnswerLimits
from .watch import EventWatch, WholeWatch
from .whole import WholeAnswer

_MAX_READING = 4  # each holds an answer; a fifth is not read rather than queued


class Answers:
    """Taps the answers to turns. Owns the reading in the background; close it to end that."""

    def __init__(self, keeper: Keeper, limits: AnswerLimits, meters: Meters) -> None:
        self._keeper = keeper
        self._meters = meters
        self._limits = limits
        self._reading: set[asyncio.Task[None]] = set()

    def tap(self, turn: AnsweredTurn) -> "AnswerTap":
        """Return what taps the answer to a turn."""
        return AnswerTap(AnswerKeeping(self._keeper, self._limits, self._meters, turn), self)

    def absorb_later(self, turn: AnsweredTurn, read: Callable[[], Sequence[Json]]) -> None:
        """Take in what `read` returns of messages, in the background, if there is room."""
        if len(self._reading) < _MAX_READING:
            task = asyncio.create_task(self._absorb(turn, read))
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)

    async def close(self) -> None:
        """End the background work. May be called twice."""
        tasks = list(self._reading)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _absorb(self, turn: AnsweredTurn, read: Callable[[], Sequence[Json]]) -> None:
        if messages := await asyncio.to_thread(read):
            self._keeper.absorb_later(turn.tenant, turn.dialect, messages, (), turn.end_user)


class AnswerTap:
    """Taps one answer; see `Tap`."""

    def __init__(self, keeping: AnswerKeeping, answers: Answers) -> None:
        self._keeping = keeping
        self._answers = answers
        turn = keeping.turn
        self._is_read = turn.prompt is not None or turn.wants_refs

    def whole(self, answer: Answer) -> WholeAnswer | None:
        """Return what reads a whole answer in JSON, unless it comes bit by bit."""
        if not self._is_read or self._keeping.turn.is_streamed or not _is_json(answer):
            return None
        codings = _codings_of(answer)
        return None if codings is None else WholeAnswer(self._keeping, codings)

    def stream(self, answer: Answer) -> AnswerEvents | None:
        """Return what reads a stream."""
        codings = _codings_of(answer) if self._is_read else None
        return None if codings is None else AnswerEvents(self._keeping, codings)

    def watch(self, answer: Answer, *, is_stream: bool) -> WholeWatch | EventWatch | None:
        """Return what looks at an answer that passes."""
        codings = _codings_of(answer)
        if codings is None:
            return None
        if is_stream:
            return None if codings else EventWatch(self._keeping, self._answers.absorb_later)
        if not _is_json(answer):
            return None
        return WholeWatch(self._keeping, codings, self._answers.absorb_later)


def _codings_of(answer: Answer) -> Sequence[str] | None:
    """Return the codings of an answer that can be read; None for an error, and for codings not known."""
    if answer.status != 200:
        return None
    coding = answer.headers.get("Content-Encoding")
    if coding is None:
        return ()
    try:
        return parse_codings(coding)
    except ProblemError:
        return None


def _is_json(answer: Answer) -> bool:
    return answer.headers.get("Content-Type", "").lower().startswith("application/json")
