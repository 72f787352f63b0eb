"""The keyring of a store: who asks, from the keys in its index.

1. An answer of the index is believed for a second at most, so that is how long a revoked key may
   still be let in. That a key is wrong is never believed: a new one works at once.
2. A store that has had a key asks everybody for one; one that has none is open.
3. When the index cannot answer, nobody is let in.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from coatcheck.protocol import DEFAULT_TENANT
from coatcheck.store import KeyInfo, Keys, StoreError
from coatcheck.web import Principal, ProblemError

from .errors import store_problem

BELIEVED_SECONDS = 1.0
_REMEMBERED = 4096  # keys, about 0.5 KB each
_OPEN = Principal(DEFAULT_TENANT, is_open=True)


@dataclass(frozen=True, slots=True)
class _Answer:
    info: KeyInfo
    principal: Principal
    asked_at: float


class StoreKeyring:
    """Believes the index for a moment. Owns nothing."""

    def __init__(
        self,
        keys: Keys,
        *,
        is_open: bool,
        clock: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """Called by `open`."""
        self._keys = keys
        self._is_open = is_open
        self._clock = clock
        self._elapsed = elapsed
        self._open_until = elapsed() + BELIEVED_SECONDS
        self._answers: OrderedDict[bytes, _Answer] = OrderedDict()

    @classmethod
    async def open(
        cls,
        keys: Keys,
        *,
        clock: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> Self:
        """Find out whether there are keys. `clock` gives Unix seconds, `elapsed` never goes back.

        Raises:
            StoreUnavailableError: the index cannot be read.
        """
        is_open = not await keys.any_exist()
        return cls(keys, is_open=is_open, clock=clock, elapsed=elapsed)

    @property
    def is_open(self) -> bool:
        """True when the store had no key a moment ago."""
        return self._is_open

    async def identify(self, secret: str | None) -> Principal | None:
        """Return whose key this is; see `Keyring`.

        Raises:
            ProblemError: the index cannot answer.
        """
        try:
            if await self._is_open_now():
                return _OPEN
            return None if secret is None else await self._find(secret)
        except StoreError as error:
            problem = store_problem(error)
            if problem is None:
                raise
            raise ProblemError(problem) from error

    async def _is_open_now(self) -> bool:
        if self._is_open and self._elapsed() >= self._open_until:
            asked_at = self._elapsed()
            self._is_open = not await self._keys.any_exist()
            self._open_until = asked_at + BELIEVED_SECONDS
        return self._is_open

    async def _find(self, secret: str) -> Principal | None:
        name = hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
        asked_at = self._elapsed()
        known = self._answers.get(name)
        if known is not None and asked_at - known.asked_at < BELIEVED_SECONDS:
            return known.principal if known.info.is_valid(self._clock()) else None
        info = await self._keys.verify(secret)
        if info is None:
            self._answers.pop(name, None)
            return None
        principal = Principal(info.tenant, info.scopes)
        self._remember(name, _Answer(info, principal, asked_at))
        return principal

    def _remember(self, name: bytes, answer: _Answer) -> None:
        self._answers[name] = answer
        self._answers.move_to_end(name)
        while len(self._answers) > _REMEMBERED:
            self._answers.popitem(last=False)
