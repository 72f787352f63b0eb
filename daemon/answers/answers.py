"""Answers that are kept: each continues the prompt that it answers, and the client is told its name.

1. Only the answer to a turn that is kept is read; all others pass untouched.
2. An answer is appended whole or not at all: what was cut off, is an error or cannot be understood has
   no name.
3. Reading and appending never fail a turn, and delay it by a bounded time: the client sends again what
   has no name.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from coatcheck.protocol import ANSWER_FORMS, Dialect, Digest, Json, ModelAnswer, ProtocolError
from coatcheck.web import ProblemError, parse_codings

from ..keeper import Keeper
from ..upstream import Answer
from .events import AnswerEvents
from .limits import AnswerLimits
from .whole import WholeAnswer

_log = logging.getLogger(__name__)
Named = Callable[[str, Digest, int], Awaitable[None]]
"""Told of an answer that is kept: what its provider calls it, what the list with it is called, and how
many messages at that list's end it has."""


@dataclass(frozen=True, slots=True)
class AnsweredTurn:
    """The turn whose answer comes: whose it is, and in which dialect.

    An answer that is streamed is so in JSON too: then nothing of it is held. Where the client used an
    envelope, a stream has a comment with the answer's name; not every reader of events knows comments
    (the `google-genai` package does not, in version 3), so others get none.
    """

    tenant: str
    dialect: Dialect
    end_user: str | None
    is_streamed: bool = False
    takes_comments: bool = False
    named: Named | None = None
    """Who is told of it before the client has its end."""


class Answers:
    """Taps the answers to turns. Owns nothing."""

    def __init__(self, keeper: Keeper, limits: AnswerLimits) -> None:
        self._keeper = keeper
        self.limits = limits

    def tap(self, turn: AnsweredTurn, prompt: Digest | None) -> "AnswerTap | None":
        """Return what taps the answer to a turn; None: it passes. `prompt` is what is kept of it."""
        return None if prompt is None else AnswerTap(self, turn, prompt)

    async def append(
        self, turn: AnsweredTurn, prompt: Digest, answer: ModelAnswer
    ) -> Digest | None:
        """Keep an answer behind its prompt, and return what both are called; None: it is not kept."""
        try:
            async with asyncio.timeout(self.limits.append_seconds):
                kept = await self._keep(turn, prompt, answer.messages)
                if kept is not None and answer.id is not None and turn.named is not None:
                    await turn.named(answer.id, kept, len(answer.messages))
                return kept if answer.messages else None
        except TimeoutError:
            _log.warning("answer not kept: it took over %g seconds", self.limits.append_seconds)
        except ProtocolError as error:
            _log.warning("answer not kept: %s", error)
        return None

    async def _keep(
        self, turn: AnsweredTurn, prompt: Digest, messages: Sequence[Json]
    ) -> Digest | None:
        """Return the list with the answer; an answer of no messages leaves it as it is."""
        if not messages:
            return prompt
        keep = self._keeper.keep(turn.tenant, turn.dialect, prompt, messages, (), turn.end_user)
        return (await keep).prompt


class AnswerTap:
    """Taps one answer; see `Tap`."""

    def __init__(self, answers: Answers, turn: AnsweredTurn, prompt: Digest) -> None:
        self._answers = answers
        self._limits = answers.limits
        self._turn = turn
        self._prompt = prompt
        self._form = ANSWER_FORMS[turn.dialect.name]

    def whole(self, answer: Answer) -> WholeAnswer | None:
        """Return what reads a whole answer in JSON, unless it comes bit by bit."""
        codings = _codings_of(answer)
        if codings is None or self._turn.is_streamed or not _is_json(answer.headers):
            return None
        return WholeAnswer(self._form, codings, self.append, self._limits.max_bytes)

    def stream(self, answer: Answer) -> AnswerEvents | None:
        """Return what reads a stream."""
        codings = _codings_of(answer)
        if codings is None:
            return None
        return AnswerEvents(
            self._form, codings, self.append, self._limits, self._turn.takes_comments
        )

    async def append(self, answer: ModelAnswer) -> Digest | None:
        """Keep the answer."""
        return await self._answers.append(self._turn, self._prompt, answer)


def _codings_of(answer: Answer) -> Sequence[str] | None:
    """Return the codings of an answer that can be read; None for an error, and for codings not known."""
    if answer.status != 200:
        return None
    try:
        return parse_codings(answer.headers.get("Content-Encoding", ""))
    except ProblemError:
        return None


def _is_json(headers: Mapping[str, str]) -> bool:
    return headers.get("Content-Type", "").lower().startswith("application/json")
