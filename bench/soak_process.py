"""One server of a soak, under a clock that runs ahead: leases, prompts and beliefs age with it.

`python -m bench.soak_process SPEED COMMAND SETTINGS` serves what `coatcheck COMMAND` does under these
settings, in JSON, with a route more that says how many tasks the loop holds.
"""

import asyncio
import json
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

from aiohttp import web as http

from coatcheck import web
from coatcheck.cli.assembly import Assemble, Assembly
from coatcheck.cli.service import run
from coatcheck.cli.services import SERVICES
from coatcheck.cli.settings import Settings
from coatcheck.cli.settings_sources import load_settings
from coatcheck.cli.surroundings import Surroundings

TASKS_PATH = "/soak/tasks"


def ahead(speed: float, clock: Callable[[], float]) -> Callable[[], float]:
    """Return a clock that starts with `clock` and runs `speed` times as fast."""
    start = clock()
    return lambda: start + (clock() - start) * speed


async def _tasks(request: http.Request) -> http.StreamResponse:
    return http.json_response({"tasks": len(asyncio.all_tasks())})


async def _assemble(
    inner: Assemble,
    speed: float,
    settings: Settings,
    surroundings: Surroundings,
    stack: AsyncExitStack,
) -> Assembly:
    """Open what `inner` opens, under clocks that run ahead, with the route for tasks."""
    around = replace(
        surroundings, clock=ahead(speed, time.time), monotonic=ahead(speed, time.monotonic)
    )
    assembly = await inner(settings, around, stack)
    face = web.Face(routes=[web.Route("GET", TASKS_PATH, _tasks, scope=None)])
    return replace(assembly, faces=[face, *assembly.faces])


def main() -> None:
    """Serve until SIGTERM."""
    speed, command, given = float(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    settings = load_settings(None, {"port": 0, "log_level": "error", **given})
    asyncio.run(
        run(
            partial(_assemble, SERVICES[command].assemble, speed),
            settings,
            lambda urls: print(f"listening on {urls[0]}", flush=True),
        )
    )


if __name__ == "__main__":
    main()
