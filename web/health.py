"""`/healthz`, the process answers; `/readyz`, and what it needs works."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from .json_answer import json_response
from .route import Answer, Operation, Route


@dataclass(frozen=True, slots=True)
class ReadinessCheck:
    """One thing a face needs. `check` returns None when it works, else one sentence why not.

    It is called for every `/readyz`, and must answer within a second or so.
    """

    name: str
    check: Callable[[], Awaitable[str | None]]


class Health(BaseModel):
    """Answer of `/healthz`."""

    model_config = ConfigDict(frozen=True)

    status: str


class Readiness(BaseModel):
    """Answer of `/readyz`; `checks` says `ok` or why not."""

    model_config = ConfigDict(frozen=True)

    status: str
    checks: dict[str, str]


def health_routes(checks: Sequence[ReadinessCheck]) -> list[Route]:
    """Return both routes; `/readyz` asks all checks at once, and answers 503 if one fails."""

    async def healthz(request: web.Request) -> web.StreamResponse:
        return json_response(Health(status="ok"))

    async def readyz(request: web.Request) -> web.StreamResponse:
        reasons = await asyncio.gather(*(check.check() for check in checks))
        found = {check.name: reason or "ok" for check, reason in zip(checks, reasons, strict=True)}
        if any(reasons):
            return json_response(Readiness(status="unready", checks=found), status=503)
        return json_response(Readiness(status="ready", checks=found))

    return [
        Route(
            "GET",
            "/healthz",
            healthz,
            Operation("Say that the process answers", "health", {200: Answer("alive", Health)}),
        ),
        Route(
            "GET",
            "/readyz",
            readyz,
            Operation(
                "Say whether everything needed works",
                "health",
                {200: Answer("ready", Readiness), 503: Answer("not ready", Readiness)},
            ),
        ),
    ]
