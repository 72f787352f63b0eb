"""What taps the answer to a turn, by what the client is told of the turn."""

from collections.abc import Mapping
from functools import partial

from coatcheck.protocol import PROMPT_HEADER, Dialect, Digest

from .answers import AnsweredTurn, Answers, Named
from .history import History, NamedTurn
from .received import Received
from .relay import Tap
from .upstream import Upstream
from .wish import Wish


class Taps:
    """Chooses taps. Owns nothing."""

    def __init__(self, answers: Answers, history: History) -> None:
        self._answers = answers
        self._history = history

    def tap(
        self,
        dialect: Dialect,
        upstream: Upstream,
        received: Received,
        wish: Wish,
        told: Mapping[str, str],
    ) -> Tap | None:
        """Return what taps the answer, given the headers that the client is told; None: it passes."""
        call, prompt = received.call, told.get(PROMPT_HEADER)
        if not call.is_turn:
            return None
        tenant, end_user = received.tenant, received.end_user
        named: Named | None = None
        if self._history.keeps(received.parsed, dialect, upstream.config):
            named = partial(self._history.name, NamedTurn(tenant, upstream.config.name, end_user))
        return self._answers.tap(
            AnsweredTurn(
                tenant,
                dialect,
                end_user,
                Digest(prompt) if prompt else None,
                is_streamed=call.is_streamed,
                takes_comments=received.parsed.envelope is not None,
                wants_refs=wish.wants_refs,
                named=named,
            )
        )
