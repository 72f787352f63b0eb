"""Work on a whole store that takes its time: asked for by an operator, told line by line.

Each piece of work is a request and an answer of lines, JSON each, the last of kind `done`. A command
does the same work on a folder that no server has. If it fails when lines were sent already, the last
one is of kind `error`. Whoever goes away ends the work at the next line.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import ClassVar, Generic, Literal, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from coatcheck.store import Store, StoreError
from coatcheck.web import Answer, Operation, Route, read_model

from .errors import store_problem

LINES_TYPE = "application/x-ndjson"
_MAX_REQUEST_BYTES = 16 * 1024
_FLUSH_BYTES = 32 * 1024

R = TypeVar("R", bound=BaseModel)


class Line(BaseModel):
    """One line of an answer."""

    model_config = ConfigDict(frozen=True)

    is_one_of_many: ClassVar[bool] = False
    """Whether it may wait for others like it, to go out with them."""


@dataclass(frozen=True, slots=True)
class Work(Generic[R]):
    """One kind of work."""

    name: str
    request: type[R]
    run: Callable[[Store, R], AsyncGenerator[Line]]
    """Does it; the generator yields the lines."""
    summary: str
    lines: str
    """What the lines are, for the document."""

    @property
    def path(self) -> str:
        """Where a server is asked for it."""
        return f"/admin/api/{self.name}"


class FailedLine(Line):
    """The end of work that failed."""

    kind: Literal["error"] = "error"
    code: str
    detail: str


def work_route(store: Store, work: Work[R]) -> Route:
    """Return the route that asks for the work."""

    async def handle(request: web.Request) -> web.StreamResponse:
        wanted = await read_model(request, work.request, _MAX_REQUEST_BYTES)
        async with aclosing(work.run(store, wanted)) as lines:
            return await _send_lines(request, lines)

    answers = {200: Answer(work.lines, LINES_TYPE)}
    operation = Operation(work.summary, "admin", answers, body=work.request)
    return Route("POST", work.path, handle, operation, scope="admin")


async def _send_lines(request: web.Request, lines: AsyncGenerator[Line]) -> web.StreamResponse:
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
            if len(waiting) >= _FLUSH_BYTES or not line.is_one_of_many:
                await response.write(bytes(waiting))
                waiting.clear()
    except StoreError as error:
        problem = store_problem(error)
        code = "internal_error" if problem is None else problem.code
        waiting += _written(FailedLine(code=code, detail=str(error)))
    await response.write(bytes(waiting))
    await response.write_eof()
    return response


def _written(line: Line) -> bytes:
    return line.model_dump_json(exclude_none=True).encode() + b"\n"
