"""Whether the store answers: noticed by asking it, said once, and not asked in vain.

While it is away one question at a time goes to it, and not before a pause; all others are answered
from what is remembered. Belongs to the event loop.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from coatcheck.client import ClientError, ConnectionFailedError, ServerError

from .errors import DaemonError, StoreRefusedError, StoreUnavailableError

_log = logging.getLogger("coatcheck.daemon")
PAUSE_SECONDS = 1.0
"""Between two questions to a store that is away; also what clients are told to wait."""
_REFUSALS = frozenset({401, 403})


class Availability:
    """What is known of one store. `clock` gives seconds."""

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        """`name` is how the log and the answers call the store."""
        self._name = name
        self._clock = clock
        self._away_since: float | None = None
        self._next_try = 0.0
        self._is_trying = False

    @property
    def away_since(self) -> float | None:
        """Since when the store has not answered; None while it does."""
        return self._away_since

    @asynccontextmanager
    async def asking(self) -> AsyncGenerator[None]:
        """Surround a question to the store, and note what came of it.

        Raises:
            StoreUnavailableError: it did not answer, or does not lately and was not asked.
            StoreRefusedError: it does not take this daemon's key.
        """
        if not self._may_ask():
            raise StoreUnavailableError(f"the store {self._name} is away")
        is_probe = self._away_since is not None
        self._is_trying = self._is_trying or is_probe
        try:
            yield
        except asyncio.CancelledError:
            raise
        except ClientError as error:
            raise self._failed(error) from error
        except DaemonError:  # what its answer means
            self._answered()
            raise
        else:
            self._answered()
        finally:
            if is_probe:
                self._is_trying = False

    def _may_ask(self) -> bool:
        if self._away_since is None:
            return True
        return not self._is_trying and self._clock() >= self._next_try

    def _answered(self) -> None:
        if self._away_since is not None:
            seconds = self._clock() - self._away_since
            _log.info("the store %s answers again, after %.0f s", self._name, seconds)
            self._away_since = None

    def _failed(self, error: ClientError) -> DaemonError:
        if isinstance(error, ServerError) and error.status in _REFUSALS:
            self._answered()
            return StoreRefusedError(f"the store {self._name} does not take our key: {error}")
        if isinstance(error, ConnectionFailedError) or _is_of_server(error):
            self._gone(error)
        return StoreUnavailableError(f"the store {self._name}: {error}")

    def _gone(self, error: ClientError) -> None:
        now = self._clock()
        self._next_try = now + PAUSE_SECONDS
        if self._away_since is None:
            self._away_since = now
            _log.warning("the store %s is away, what is known goes on: %s", self._name, error)


def _is_of_server(error: ClientError) -> bool:
    return isinstance(error, ServerError) and error.status >= 500
