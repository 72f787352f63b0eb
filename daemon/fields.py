"""Fields: large values of requests that a client names by digest instead of sending them again.

A field is kept as a prompt of one message, so that all that is true of prompts is true of it: it is
one tenant's, expires, is kept longer by use, and goes with the end user whom it was for.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from coatcheck.protocol import FIELD_DIALECT, Digest, field_prompt, prompt_root

from .errors import DaemonError
from .meters import Meters
from .remembered import Remembered
from .source import KeptMessage, PromptSource

_T = TypeVar("_T")
_MAX_KEPT = 4096


@dataclass(frozen=True, slots=True)
class KeptField:
    """A value to keep: its digest, its JSON text, the blobs that it names."""

    digest: Digest
    text: str
    blobs: tuple[Digest, ...]


class Fields:
    """Fields over a `PromptSource` that somebody else owns."""

    def __init__(self, prompts: PromptSource, meters: Meters, clock: Callable[[], float]) -> None:
        """`clock` gives Unix seconds."""
        self._prompts = prompts
        self._meters = meters
        self._clock = clock
        # Clients that name no fields send them in each turn.
        self._kept: Remembered[tuple[str, str | None, Digest], bool] = Remembered(_MAX_KEPT)

    async def find(self, tenant: str, wanted: Mapping[str, Digest]) -> dict[str, str]:
        """Return the JSON texts of those that are kept, by their keys. A use: it keeps them longer.

        Raises:
            StoreUnavailableError: the store is away.
        """
        digests = list(dict.fromkeys(wanted.values()))
        texts = await gather_all(self._find(tenant, digest) for digest in digests)
        found = dict(zip(digests, texts, strict=True))
        return {key: text for key, digest in wanted.items() if (text := found[digest]) is not None}

    async def keep(
        self, tenant: str, fields: Sequence[KeptField], *, end_user: str | None = None
    ) -> None:
        """Keep fields; `end_user` is whom they are for. Keeping one again renews it.

        Of two texts of one digest the first stays, so that an upstream is sent the same each time.

        Raises:
            NotKeptError: there is no room.
            StoreUnavailableError: the store is away.
        """
        await gather_all(self._keep(tenant, field, end_user) for field in fields)

    async def _find(self, tenant: str, digest: Digest) -> str | None:
        texts = await self._prompts.expand(tenant, FIELD_DIALECT, field_prompt(digest))
        if not texts:
            self._meters.field("not_found")
            return None
        self._meters.field("found")
        return texts[0]

    async def _keep(self, tenant: str, field: KeptField, end_user: str | None) -> None:
        now = self._clock()
        key = tenant, end_user, field.digest
        if self._kept.get(key, now):
            return
        ticket = self._kept.ticket(key)
        message = KeptMessage(field_prompt(field.digest), field.text, field.blobs)
        try:
            await self._prompts.append(
                tenant, FIELD_DIALECT, prompt_root(FIELD_DIALECT), [message], end_user=end_user
            )
        except DaemonError:
            self._meters.field("refused")
            raise
        self._meters.field("kept")
        self._kept.put(key, True, now, ticket)


async def gather_all(work: Iterable[Coroutine[object, object, _T]]) -> list[_T]:
    """Do several things at once, each to its end, and then raise what the first of them raised."""
    outcomes = await asyncio.gather(*work, return_exceptions=True)
    done: list[_T] = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        done.append(outcome)
    return done
