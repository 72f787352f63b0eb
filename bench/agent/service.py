"""Coatcheck's own processes in an agent's run: each keeps its port and its folder when it is killed."""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

_START_SECONDS = 60.0
_POLL_SECONDS = 0.02


class ServiceError(Exception):
    """A server did not start; with the end of its log."""


@dataclass(slots=True)
class Service:
    """One `coatcheck` command that serves; it is started anew at the same address."""

    name: str
    folder: Path
    port: int
    arguments: tuple[str, ...]
    _process: asyncio.subprocess.Process | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Its origin."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process that serves now."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it, and wait until it listens.

        Raises:
            ServiceError: it ended, or did not listen for too long.
        """
        log = self.folder / f"{self.name}.log"
        with log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "coatcheck.cli", *self.arguments, "--port", str(self.port)),
                cwd=self.folder,
                env=_surroundings(),
                stdout=output,
                stderr=output,
            )
        try:
            async with asyncio.timeout(_START_SECONDS):
                while not await _listens(self.port):
                    if self._process.returncode is not None:
                        break
                    await asyncio.sleep(_POLL_SECONDS)
                else:
                    return
        except TimeoutError:
            pass
        said = log.read_text(errors="replace")[-2000:]
        raise ServiceError(f"{self.name} does not listen: {said}")

    async def kill(self) -> None:
        """End it as `kill -9` does. May be called twice."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
            self._process = None

    async def restart(self) -> None:
        """Kill it and start it again, with what it has on disk."""
        await self.kill()
        await self.start()

    async def wipe(self, *parts: str) -> None:
        """Kill it, remove folders of its own, and start it again."""
        await self.kill()
        for part in parts:
            await asyncio.to_thread(shutil.rmtree, self.folder / part)
        await self.start()


@asynccontextmanager
async def serving(
    folder: Path, name: str, *arguments: str, settings: str = ""
) -> AsyncGenerator[Service]:
    """Run a command that serves; its settings, its log and what it keeps are in a folder.

    Raises:
        ServiceError: it did not start.
    """
    config = folder / f"{name}.toml"
    await asyncio.to_thread(config.write_text, settings, "utf-8")
    service = Service(name, folder, free_port(), (*arguments, "--config", str(config)))
    try:
        await service.start()
        yield service
    finally:
        await service.kill()


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _surroundings() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("COATCHECK_", "COV_")) and not name.lower().endswith("_proxy")
    }


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
