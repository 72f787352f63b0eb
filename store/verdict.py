"""Why a grant or a blob stays or goes, in words for an operator."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from coatcheck.protocol import Digest

from .database import Database
from .grant import Hold
from .schema import BlobState
from .sweep_rows import BlobRow, GrantRow, blobs_after, grants_after


@dataclass(frozen=True, slots=True)
class SweepTerms:
    """How long things stay after their end; see `StoreConfig`."""

    review_seconds: float
    quarantine_seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a sweep would do with one grant or one blob, and why."""

    of: Literal["grant", "blob"]
    digest: Digest
    size: int
    goes: bool
    reason: str
    tenant: str | None = None
    """Whose grant; None for a blob."""
    holds: tuple[Hold, ...] = ()
    """What holds the grant; of one that goes, what held it."""


async def judge_grants(
    database: Database, *, ended_before: float, now: float
) -> AsyncGenerator[Verdict]:
    """Yield a verdict for each grant, by tenant and digest."""
    place = ("", "")
    while page := await database.read(partial(grants_after, place=place)):
        for row in page:
            yield _judge_grant(row, ended_before, now)
        place = (page[-1].tenant, page[-1].digest)


async def judge_blobs(
    database: Database, *, ended_before: float, terms: SweepTerms, now: float
) -> AsyncGenerator[Verdict]:
    """Yield a verdict for each blob, by digest."""
    place = ""
    while page := await database.read(partial(blobs_after, place=place, ended_before=ended_before)):
        for row in page:
            yield _judge_blob(row, terms, now)
        place = page[-1].digest


def _judge_grant(row: GrantRow, ended_before: float, now: float) -> Verdict:
    ends = [hold.expires_at for hold in row.holds]
    last = max((end for end in ends if end is not None), default=0.0)
    living = tuple(hold for hold in row.holds if hold.expires_at is None or hold.expires_at > now)
    if living:
        goes, reason = False, f"held by {_named(living)}"
    elif last > ended_before:
        goes, reason = False, f"its last hold ended {now - last:.0f} s ago; it goes in a minute"
    else:
        goes, reason = True, f"its last hold ended {now - last:.0f} s ago"
    return Verdict(
        "grant", row.digest, row.size, goes, reason, row.tenant, living or tuple(row.holds)
    )


def _judge_blob(row: BlobRow, terms: SweepTerms, now: float) -> Verdict:
    goes = False
    match row.state:
        case BlobState.QUARANTINED if row.grants:
            reason = f"in quarantine for {now - row.state_since:.0f} s; an upload heals it"
        case BlobState.QUARANTINED:
            left = row.state_since + terms.quarantine_seconds - now
            goes = left <= 0
            reason = (
                "in quarantine, nobody has it, and its time there is over"
                if goes
                else f"in quarantine, and nobody has it; it goes in {left:.0f} s"
            )
        case BlobState.LIVE if row.grants:
            reason = f"{row.grants} grant{'s' if row.grants > 1 else ''}"
        case BlobState.LIVE:
            review = f"{terms.review_seconds:.0f} s"
            reason = f"its last grant goes; then it waits {review} for its review"
        case BlobState.CONDEMNED:
            left = row.state_since + terms.review_seconds - now
            goes = left <= 0
            reason = (
                "condemned, and its review is over"
                if goes
                else f"condemned; its review ends in {left:.0f} s"
            )
    return Verdict("blob", row.digest, row.size, goes, reason)


def _named(living: tuple[Hold, ...]) -> str:
    kinds = [hold.kind.value for hold in living]
    return ", ".join(
        kind if kinds.count(kind) == 1 else f"{kinds.count(kind)} {kind}s"
        for kind in dict.fromkeys(kinds)
    )
