"""The keyring of a daemon whose store knows the keys.

1. What the store says of a key is believed for half a minute, and for an hour while the store is
   away; a key's own expiry holds at once. That a key is wrong is never believed.
2. While the store is away a key that is not remembered can be neither let in nor turned away: 503.
"""

import hashlib
import time
from collections.abc import Callable

from coatcheck.client import StoreLink
from coatcheck.protocol import KeyAnswer, parse_key
from coatcheck.web import Principal, ProblemError

from .availability import Availability
from .errors import DaemonError, StoreUnavailableError
from .remembered import STALE_SECONDS, Remembered

_REMEMBERED = 4096  # keys


class RemoteKeyring:
    """Asks a store through a link that somebody else owns. `clock` gives Unix seconds."""

    is_open = False
    """A daemon that has a key asks everybody for one."""

    def __init__(
        self,
        link: StoreLink,
        availability: Availability,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._link = link
        self._availability = availability
        self._clock = clock
        self._answers: Remembered[bytes, KeyAnswer] = Remembered(_REMEMBERED)

    async def identify(self, secret: str | None) -> Principal | None:
        """Return whose key this is; see `Keyring`.

        Raises:
            ProblemError: the store cannot be asked, and did not speak of this key lately.
        """
        if secret is None or parse_key(secret) is None:
            return None
        try:
            answer = await self._answer(secret)
        except DaemonError as error:
            raise ProblemError(error.problem) from error
        if answer is None or not _is_valid(answer, self._clock()):
            return None
        return Principal(answer.tenant, frozenset(answer.scopes))

    async def _answer(self, secret: str) -> KeyAnswer | None:
        name = hashlib.sha256(secret.encode()).digest()
        now = self._clock()
        if (known := self._answers.get(name, now)) is not None:
            return known
        ticket = self._answers.ticket(name)
        try:
            async with self._availability.asking():
                answer = await self._link.verify(secret)
        except StoreUnavailableError:
            known = self._answers.get(name, now, max_age_seconds=STALE_SECONDS)
            if known is None:
                raise
            return known
        if answer is None:
            self._answers.forget(name)
        else:
            self._answers.put(name, answer, now, ticket)
        return answer


def _is_valid(answer: KeyAnswer, now: float) -> bool:
    return answer.expires_at is None or now < answer.expires_at
