"""One server of a soak, under a clock that runs ahead: leases, prompts and beliefs age with it.

`python -m bench.soak_process SPEED COMMAND [FLAGS]` serves what `coatcheck COMMAND` does, with a
route more that says how many tasks the loop holds.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

from aiohttp import web as http

from coatcheck import web
from coatcheck.cli.assembly import Assemble, Assembly, assemble_api
from coatcheck.cli.daemon_assembly import assemble_daemon
from coatcheck.cli.service import run
from coatcheck.cli.settings import Settings, load_settings
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
    clock: Callable[[], float],
    settings: Settings,
    surroundings: Surroundings,
    stack: AsyncExitStack,
) -> Assembly:
    """Open what `inner` opens, under the clock, with the route for tasks."""
    assembly = await inner(settings, replace(surroundings, clock=clock), stack)
    face = web.Face(routes=[web.Route("GET", TASKS_PATH, _tasks, scope=None)])
    return replace(assembly, faces=[face, *assembly.faces])


def main() -> None:
    """Serve until SIGTERM."""
    speed, command, data = float(sys.argv[1]), sys.argv[2], sys.argv[3]
    flags: dict[str, object] = {"port": 0, "log_level": "error"}
    inner = assemble_api if command == "api" else assemble_daemon
    flags |= {"data": data} if command == "api" else {"cache": data, "store": sys.argv[4]}
    if command == "daemon":
        flags["max_cache_bytes"] = int(sys.argv[5])
    settings = load_settings(None, flags)
    asyncio.run(
        run(
            partial(_assemble, inner, ahead(speed, time.time)),
            settings,
            lambda urls: print(f"listening on {urls[0]}", flush=True),
        )
    )


if __name__ == "__main__":
    main()
