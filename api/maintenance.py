"""Work on a whole store that takes its time: asked for by an operator, told line by line.

Each piece of work is a request and an answer of lines, JSON each, the last of kind `done`. A command
does the same work on a folder that no server has. If it fails when lines were sent already, the last
one is of kind `error`. Whoever goes away ends the work at the next line.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from coatcheck.protocol import HoldEntry
from coatcheck.store import Store, StoreError, Verdict
from coatcheck.web import Answer, Operation, Route, read_model

from .errors import store_problem
from .models import hold_entry

LINES_TYPE = "application/x-ndjson"
_MAX_REQUEST_BYTES = 16 * 1024
_FLUSH_BYTES = 32 * 1024  # many short lines go out together

R = TypeVar("R", bound=BaseModel)


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True)


@dataclass(frozen=True, slots=True)
class Work(Generic[R]):
    """One kind of work."""

    name: str
    request: type[R]
    run: Callable[[Store, R], AsyncGenerator[BaseModel]]
    """Does it; the generator yields the lines."""
    summary: str
    lines: str
    """What the lines are, for the document."""

    @property
    def path(self) -> str:
        """Where a server is asked for it."""
        return f"/admin/api/{self.name}"


class FailedLine(_Line):
    """The end of work that failed."""

    kind: Literal["error"] = "error"
    code: str
    detail: str


class SweepRequest(_Line):
    """What to sweep for."""

    dry_run: bool = False
    """Say what would go, and why what stays does; remove nothing."""


class VerdictLine(_Line):
    """Why a grant or a blob stays or goes."""

    kind: Literal["verdict"] = "verdict"
    of: Literal["grant", "blob"]
    digest: str
    size: int
    goes: bool
    reason: str
    tenant: str | None = None
    holds: tuple[HoldEntry, ...] = ()


class SweptLine(_Line):
    """What a sweep did."""

    kind: Literal["done"] = "done"
    ended_holds: int
    ended_grants: int
    removed_blobs: int
    removed_bytes: int
    removed_prompts: int
    removed_quarantined: int
    removed_uploads: int


class JudgedLine(_Line):
    """What a dry run counted."""

    kind: Literal["done"] = "done"
    grants: int
    grants_going: int
    blobs: int
    blobs_going: int
    bytes_going: int


async def _sweep(store: Store, request: SweepRequest) -> AsyncGenerator[BaseModel]:
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


async def _judge(store: Store) -> AsyncGenerator[BaseModel]:
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


SWEEP = Work(
    "sweep",
    SweepRequest,
    _sweep,
    "Remove what nothing holds any more",
    "with `dry_run` a `verdict` for each grant and blob; at the end `done` with the counts",
)


def maintenance_routes(store: Store) -> list[Route]:
    """Return a route for each kind of work."""
    return [work_route(store, SWEEP)]


def work_route(store: Store, work: Work[R]) -> Route:
    """Return the route that asks for the work."""

    async def handle(request: web.Request) -> web.StreamResponse:
        wanted = await read_model(request, work.request, _MAX_REQUEST_BYTES)
        async with aclosing(work.run(store, wanted)) as lines:
            return await _send_lines(request, lines)

    answers = {200: Answer(work.lines, LINES_TYPE)}
    operation = Operation(work.summary, "admin", answers, body=work.request)
    return Route("POST", work.path, handle, operation, scope="admin")


async def _send_lines(request: web.Request, lines: AsyncGenerator[BaseModel]) -> web.StreamResponse:
    """Answer with the lines; an error before the first one is an ordinary problem.

    Raises:
        StoreError: as the work, before its first line.
    """
    first = await anext(lines)
    response = web.StreamResponse(headers={"Content-Type": LINES_TYPE, "Cache-Control": "no-store"})
    await response.prepare(request)
    waiting = bytearray(_written(first))
    try:
        async for line in lines:
            waiting += _written(line)
            if len(waiting) >= _FLUSH_BYTES or not isinstance(line, VerdictLine):
                await response.write(bytes(waiting))
                waiting.clear()
    except StoreError as error:
        problem = store_problem(error)
        code = "internal_error" if problem is None else problem.code
        waiting += _written(FailedLine(code=code, detail=str(error)))
    await response.write(bytes(waiting))
    await response.write_eof()
    return response


def _written(line: BaseModel) -> bytes:
    return line.model_dump_json(exclude_none=True).encode() + b"\n"
