"""`/healthz`, the process answers; `/readyz`, and what it needs works."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from .json_answer import json_response
from .route import Answer, Operation, Route

PATIENCE_SECONDS = 0.8
"""How long a check may take: probers wait one second by default (Kubernetes `timeoutSeconds`)."""


@dataclass(frozen=True, slots=True)
class ReadinessCheck:
    """One thing a face needs. `check` returns None when it works, else one sentence why not.

    It is called for every `/readyz`. One that takes longer than a prober waits has failed.
    """

    name: str
    check: Callable[[], Awaitable[str | None]]
    is_vital: bool = True
    """False for what can be done without for a while: then the answer is 200, `degraded`."""


class Health(BaseModel):
    """Answer of `/healthz`."""

    model_config = ConfigDict(frozen=True)

    status: str


class Readiness(BaseModel):
    """Answer of `/readyz`: `ready`, `degraded` or `unready`; `checks` says `ok` or why not."""

    model_config = ConfigDict(frozen=True)

    status: str
    checks: dict[str, str]


def health_routes(
    checks: Sequence[ReadinessCheck], *, patience_seconds: float = PATIENCE_SECONDS
) -> list[Route]:
    """Return both routes; `/readyz` asks all checks at once, and answers 503 if a vital one fails."""

    async def healthz(request: web.Request) -> web.StreamResponse:
        return json_response(Health(status="ok"))

    async def readyz(request: web.Request) -> web.StreamResponse:
        reasons = await asyncio.gather(*(_reason(check, patience_seconds) for check in checks))
        found = {check.name: reason or "ok" for check, reason in zip(checks, reasons, strict=True)}
        failed = [check for check, reason in zip(checks, reasons, strict=True) if reason]
        if any(check.is_vital for check in failed):
            return json_response(Readiness(status="unready", checks=found), status=503)
        return json_response(Readiness(status="degraded" if failed else "ready", checks=found))

    return [
        Route(
            "GET",
            "/healthz",
            healthz,
            Operation("Say that the process answers", "health", {200: Answer("alive", Health)}),
            scope=None,
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
            scope=None,
        ),
    ]


async def _reason(check: ReadinessCheck, seconds: float) -> str | None:
    try:
        async with asyncio.timeout(seconds):
            return await check.check()
    except TimeoutError:
        return f"no answer within {seconds:g} seconds"
