"""Whether the store answers: noticed by asking it, said once, and not asked in vain.

1. The store is away when no connection to it answers, or what stands before it says so. An answer
   that only one question gets, such as a tenant's 500, says nothing about the others.
2. While it is away one question at a time goes to it, and not before a pause; all others are
   answered from what is remembered. A question that takes long keeps others for a while only.

Belongs to the event loop.
"""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from coatcheck.client import ClientError, ConnectionFailedError, ServerError

from .errors import (
    DaemonError,
    NotKeptError,
    StoreFailedError,
    StoreLoopError,
    StoreRefusedError,
    StoreUnavailableError,
    UpstreamError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)

_log = logging.getLogger("coatcheck.daemon")
PAUSE_SECONDS = 1.0
"""Between two questions to a store that is away; also what clients are told to wait."""
TRIAL_SECONDS = 10.0
"""How long the one question that goes to a store that is away keeps others from going too."""
_SILENT_SECONDS = 60.0
_REFUSALS = frozenset({401, 403})
_STAYS_REFUSED = frozenset({400, 404, 413, 422, 507})
_AWAY = frozenset({502, 503, 504})  # a proxy's, or the store's own when it cannot answer anybody


@dataclass(slots=True)
class Question:
    """What somebody asks the store."""

    status: int = 200
    """Of the answer, for whoever asks to say where errors are answers to pass on."""


class Availability:
    """What is known of one store. `clock` gives seconds, and never goes back."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        """`name` is how the log and the answers call the store."""
        self._name = name
        self._clock = clock
        self._away_since: float | None = None
        self._next_try = 0.0
        self._said = ""
        self._said_at = -_SILENT_SECONDS

    @asynccontextmanager
    async def asking(self) -> AsyncGenerator[Question]:
        """Surround a question to the store, up to where its answer begins; note what came of it.

        Raises:
            StoreUnavailableError: it did not answer, or does not lately and was not asked.
            StoreRefusedError: it does not take this daemon's key.
            StoreFailedError: its answer is none.
            StoreLoopError: a daemon was asked.
        """
        trial = self._begin()
        try:
            question = Question()
            yield question
        except ClientError as error:
            raise self._failed(error) from error
        except UpstreamError as error:
            raise self._not_passed(error) from error
        except DaemonError:  # what its answer means
            self._answered()
            raise
        except BaseException:
            if self._next_try == trial:
                self._next_try = self._clock()  # nothing came of it: the next may try
            raise
        else:
            self._note(question.status)

    def _note(self, status: int) -> None:
        if status in _AWAY:
            self._gone(f"it answered {status}")
        else:
            self._answered()

    def _begin(self) -> float | None:
        """Return until when others wait for this question; None where nobody does."""
        if self._away_since is None:
            return None
        now = self._clock()
        if now < self._next_try:
            raise StoreUnavailableError(f"the store {self._name} is away")
        self._next_try = now + TRIAL_SECONDS
        return self._next_try

    def _answered(self) -> None:
        if self._away_since is not None:
            seconds = self._clock() - self._away_since
            _log.info("the store %s answers again, after %.0f s", self._name, seconds)
            self._away_since = None

    def _failed(self, error: ClientError) -> DaemonError:
        text = f"the store {self._name}: {error}"
        if isinstance(error, ConnectionFailedError):
            self._gone(str(error))
            return StoreUnavailableError(text)
        if not isinstance(error, ServerError):
            self._answered()
            self._say("gave no answer of a store", error)
            return StoreUnavailableError(text) if error.retryable else StoreFailedError(text)
        self._note(error.status)
        if error.status in _AWAY:
            return StoreUnavailableError(text)
        self._say(f"answered {error.status} {error.code or ''}".rstrip(), error)
        if error.status in _REFUSALS:
            return StoreRefusedError(f"the store {self._name} does not take our key: {error}")
        if error.code == StoreLoopError.code:
            return StoreLoopError(f"{self._name} is no store: {error.detail}")
        return StoreUnavailableError(text) if error.retryable else StoreFailedError(text)

    def _not_passed(self, error: UpstreamError) -> DaemonError:
        """Return what it means that a request passed through got no answer."""
        match error:
            case UpstreamUnreachableError():
                reason = "it cannot be reached"
            case UpstreamTimeoutError():
                reason = "it is too slow"
            case _ if error.retryable:  # as one does that was idle: it may be there all the same
                return StoreUnavailableError(f"the store {self._name} hung up without an answer")
            case _:
                self._answered()
                return StoreFailedError(f"the store {self._name} answered something else than HTTP")
        self._gone(reason)
        return StoreUnavailableError(f"the store {self._name}: {reason}")

    def _say(self, what: str, error: ClientError) -> None:
        """Log what the store does wrong: the same thing once a minute."""
        now = self._clock()
        if what != self._said or now - self._said_at >= _SILENT_SECONDS:
            self._said, self._said_at = what, now
            _log.warning("the store %s %s: %s", self._name, what, error)

    def _gone(self, reason: str) -> None:
        now = self._clock()
        self._next_try = now + PAUSE_SECONDS
        if self._away_since is None:
            self._away_since = now
            _log.warning("the store %s is away, what is known goes on: %s", self._name, reason)


def not_kept(error: ClientError) -> DaemonError | ClientError:
    """Return what a refusal means; what may pass, or is the daemon's own fault, stays as it is."""
    if isinstance(error, ServerError) and error.status not in _STAYS_REFUSED:
        return error
    return NotKeptError(str(error))
