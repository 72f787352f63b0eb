"""A `coatcheck serve` of its own, as a child process on a free loopback port."""

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from .errors import ServerStartError

__all__ = ["serve_process"]

_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 15.0
_LISTENING = re.compile(rb"http://127\.0\.0\.1:(\d+)")


@asynccontextmanager
async def serve_process(folder: Path) -> AsyncGenerator[int]:
    """Run a server on an empty folder and yield its port; on leaving it has ended.

    It has no settings but its defaults, whatever this process's environment and working folder
    hold, so that models go to the built-in echo.

    Raises:
        ServerStartError: it ended, or said nothing for a minute, before it listened.
    """
    log = folder / "serve.log"
    with log.open("wb") as errors:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "coatcheck.cli", "serve"),
            *("--port", "0", "--data", str(folder / "data")),
            cwd=folder,
            env={k: v for k, v in os.environ.items() if not k.startswith("COATCHECK_")},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # Ctrl-C is for the demo, which then ends its children
        )
    assert child.stdout is not None
    try:
        port = await _port(child.stdout, log)
        drain = asyncio.create_task(_drain(child.stdout))
        try:
            yield port
        finally:
            drain.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await drain
    finally:
        await _end(child)


async def _port(output: asyncio.StreamReader, log: Path) -> int:
    try:
        async with asyncio.timeout(_START_SECONDS):
            while line := await output.readline():
                if match := _LISTENING.search(line):
                    return int(match[1])
    except TimeoutError as error:
        raise ServerStartError(f"the server said nothing for {_START_SECONDS:g} s") from error
    said = await asyncio.to_thread(log.read_text, "utf-8", "replace")
    raise ServerStartError(f"the server ended before it listened: {said[-1000:].strip()}")


async def _drain(output: asyncio.StreamReader) -> None:
    """Read on, so that a full pipe never stops the child."""
    while await output.read(65536):
        pass


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        child.terminate()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await child.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
