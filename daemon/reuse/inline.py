"""The mode `inline`: every blob's bytes, in every turn. Any upstream takes them."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..body import Body
from ..peeked import Refusal
from ..splice import Filling
from .mode import Headers, Hop, Plan

_NOTHING: frozenset[int] = frozenset()


class Inline:
    """The mode `inline`. It knows nothing, and has nothing to correct."""

    async def plan(self, hop: Hop) -> Plan:
        """Return the bytes for every slot; see `Mode.plan`."""
        return InlinePlan(hop.fillings)

    async def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True, slots=True)
class InlinePlan:
    """Bytes in every slot."""

    fillings: Sequence[Filling]
    watched = _NOTHING

    def headers(self, headers: Headers) -> Headers:
        """Return them as they are."""
        return headers

    def body(self, body: Body) -> Body:
        """Return it as it is."""
        return body

    async def refused(self, refusal: Refusal) -> Plan | None:
        """Leave it to the client: bytes cannot be sent in a better way."""
        return None

    def answered(self, status: int) -> None:
        """Nothing follows from it."""

    def close(self) -> None:
        """Nothing is held."""
