"""Looking after a store: sweeping, scrubbing and checking it, for an operator."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import asdict
from typing import ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from coatcheck.protocol import HoldEntry
from coatcheck.store import CheckProgress, Store, Verdict
from coatcheck.web import Route

from .models import hold_entry
from .work import Line, Work, work_route

_SAY_SECONDS = 0.2
MIN_SCRUB_RATE = 64 * 1024
"""Bytes a second. A slower one would say nothing for longer than anybody waits for a line."""

S = TypeVar("S")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class SweepRequest(_Frozen):
    """What to sweep for."""

    dry_run: bool = False
    """Say what would go, and why what stays does; remove nothing."""


class VerdictLine(Line):
    """Why a grant or a blob stays or goes."""

    is_one_of_many: ClassVar[bool] = True
    kind: Literal["verdict"] = "verdict"
    of: Literal["grant", "blob"]
    digest: str
    size: int
    goes: bool
    reason: str
    tenant: str | None = None
    holds: tuple[HoldEntry, ...] = ()


class SweptLine(Line):
    """What a sweep did."""

    kind: Literal["done"] = "done"
    ended_holds: int
    ended_grants: int
    removed_blobs: int
    removed_bytes: int
    removed_prompts: int
    removed_quarantined: int
    removed_uploads: int


class JudgedLine(Line):
    """What a dry run counted."""

    kind: Literal["done"] = "done"
    grants: int
    grants_going: int
    blobs: int
    blobs_going: int
    bytes_going: int


async def _sweep(store: Store, request: SweepRequest) -> AsyncGenerator[Line]:
    if request.dry_run:
        async with aclosing(_judge(store)) as lines:
            async for line in lines:
                yield line
        return
    swept = await store.sweep.run()
    yield SweptLine(
        ended_holds=swept.ended_holds,
        ended_grants=swept.ended_grants,
        removed_blobs=swept.removed_blobs,
        removed_bytes=swept.removed_bytes,
        removed_prompts=swept.removed_prompts,
        removed_quarantined=swept.removed_quarantined,
        removed_uploads=swept.removed_uploads,
    )


async def _judge(store: Store) -> AsyncGenerator[Line]:
    counts = {"grant": [0, 0], "blob": [0, 0]}
    bytes_going = 0
    async with aclosing(store.sweep.explain()) as verdicts:
        async for verdict in verdicts:
            counts[verdict.of][0] += 1
            counts[verdict.of][1] += verdict.goes
            bytes_going += verdict.size if verdict.goes and verdict.of == "blob" else 0
            yield _verdict_line(verdict)
    yield JudgedLine(
        grants=counts["grant"][0],
        grants_going=counts["grant"][1],
        blobs=counts["blob"][0],
        blobs_going=counts["blob"][1],
        bytes_going=bytes_going,
    )


def _verdict_line(verdict: Verdict) -> VerdictLine:
    return VerdictLine(
        of=verdict.of,
        digest=verdict.digest,
        size=verdict.size,
        goes=verdict.goes,
        reason=verdict.reason,
        tenant=verdict.tenant,
        holds=tuple(map(hold_entry, verdict.holds)),
    )


class ScrubRequest(_Frozen):
    """How to scrub."""

    bytes_per_second: int | None = Field(default=None, ge=MIN_SCRUB_RATE)
    """None: as fast as one thread reads."""
    restart: bool = False
    """Begin anew, though a pass was begun."""
    rotate_seed: bool = False
    """Begin anew with a new seed, with which all checksums are made then."""


class _ScrubCounts(Line):
    checked_blobs: int
    checked_bytes: int
    total_blobs: int
    total_bytes: int
    damaged_blobs: int
    rewritten_blobs: int
    unreadable_blobs: int
    reconciled: int
    started_at: float


class ScrubbingLine(_ScrubCounts):
    """How far a scrub is."""

    kind: Literal["progress"] = "progress"


class ScrubbedLine(_ScrubCounts):
    """What a scrub found."""

    kind: Literal["done"] = "done"
    finished_at: float


class CheckRequest(_Frozen):
    """A check has nothing to choose."""


class CheckingLine(Line):
    """What a check looks at."""

    kind: Literal["progress"] = "progress"
    step: str
    share: float


class FindingEntry(_Frozen):
    """One kind of thing that is wrong."""

    kind: str
    count: int
    examples: tuple[str, ...]


class CheckedLine(Line):
    """All that is wrong."""

    kind: Literal["done"] = "done"
    findings: tuple[FindingEntry, ...]


async def _scrub(store: Store, request: ScrubRequest) -> AsyncGenerator[Line]:
    running = store.scrub.run(
        bytes_per_second=request.bytes_per_second,
        restart=request.restart,
        rotate_seed=request.rotate_seed,
    )
    async with aclosing(running) as steps:
        async for said in _seldom(steps, lambda step: step.finished_at is not None):
            counts = asdict(said)
            finished_at = counts.pop("finished_at")
            if finished_at is None:
                yield ScrubbingLine(**counts)
            else:
                yield ScrubbedLine(**counts, finished_at=finished_at)


async def _check(store: Store, request: CheckRequest) -> AsyncGenerator[Line]:
    said: CheckProgress | None = None
    async with aclosing(store.examination.run()) as steps:
        async for said in _seldom(steps, lambda step: step.step == "files" and step.share == 1):
            yield CheckingLine(step=said.step, share=said.share)
    findings = said.findings if said is not None else ()
    yield CheckedLine(
        findings=tuple(
            FindingEntry(kind=found.kind, count=found.count, examples=tuple(found.examples))
            for found in findings
        )
    )


async def _seldom(steps: AsyncGenerator[S], is_last: Callable[[S], bool]) -> AsyncGenerator[S]:
    """Yield the first step, then some, a few in a second, and the last one."""
    clock = asyncio.get_running_loop().time
    said_at = -math.inf
    async for step in steps:
        if is_last(step) or clock() - said_at >= _SAY_SECONDS:
            said_at = clock()
            yield step


SWEEP = Work(
    "sweep",
    SweepRequest,
    _sweep,
    "Remove what nothing holds any more",
    "with `dry_run` a `verdict` for each grant and blob; at the end `done` with the counts",
)

SCRUB = Work(
    "scrub",
    ScrubRequest,
    _scrub,
    "Verify every blob, from where the last pass stopped",
    "`progress`, some in a second; at the end `done` with the counts",
)
CHECK = Work(
    "check",
    CheckRequest,
    _check,
    "Say what is wrong with the store, and change nothing",
    "`progress`; at the end `done` with the findings",
)


def maintenance_routes(store: Store) -> list[Route]:
    """Return a route for each kind of work."""
    return [work_route(store, SWEEP), work_route(store, SCRUB), work_route(store, CHECK)]
