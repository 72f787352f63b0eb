"""A daemon in a process of its own, over a store in another."""

import asyncio
import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from coatcheck.protocol import Scope
from coatcheck.store import open_keys

from .conftest import clean_environment

_USUAL: tuple[Scope, ...] = ("read", "write", "gateway")


@dataclass
class Running:
    """A daemon's process, its address and its cache folder."""

    process: "subprocess.Popen[bytes]"
    url: str
    cache: Path

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def kill(self) -> None:
        """End it without asking."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


async def make_keys(data: Path, *tenants: str) -> tuple[str, list[str]]:
    """Make a daemon's key and one for each tenant, in a data folder that nobody need serve."""
    async with open_keys(data) as keys:
        daemon = await keys.create(tenant=None, scopes=_USUAL)
        made = [await keys.create(tenant=name, scopes=_USUAL) for name in tenants]
    return daemon.key.text, [new.key.text for new in made]


@asynccontextmanager
async def run_daemon(
    folder: Path, store: str, key: str | None, settings: str = "", *args: str
) -> AsyncGenerator[Running]:
    """Run `coatcheck daemon` over a store; its cache is in `folder`."""
    place = ("--store", store, "--cache", str(folder / "cache"))
    async with _run(folder, key, settings, *place, *args) as running:
        yield running


@asynccontextmanager
async def run_edge(
    folder: Path, remote: str, key: str | None, settings: str = "", *args: str
) -> AsyncGenerator[Running]:
    """Run `coatcheck daemon` as the edge of another."""
    async with _run(folder, key, settings, "--remote", remote, *args) as running:
        yield running


@asynccontextmanager
async def _run(folder: Path, key: str | None, settings: str, *args: str) -> AsyncGenerator[Running]:
    config = folder / "daemon.toml"
    await asyncio.to_thread(config.write_text, settings, "utf-8")
    process = await asyncio.to_thread(_start, folder, key, args)
    try:
        yield await asyncio.to_thread(_listening, process, folder)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await asyncio.to_thread(process.wait)
        assert process.stdout is not None
        process.stdout.close()


def _start(folder: Path, key: str | None, args: tuple[str, ...]) -> "subprocess.Popen[bytes]":
    with (folder / "daemon.log").open("ab") as log:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "coatcheck.cli", "daemon", "--port", "0"),
                *("--config", str(folder / "daemon.toml"), *args),
            ],
            cwd=folder,
            env=clean_environment() | ({"COATCHECK_KEY": key} if key else {}),
            stdout=subprocess.PIPE,
            stderr=log,
        )


def _listening(process: "subprocess.Popen[bytes]", folder: Path) -> Running:
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(rb"http://[0-9.]+:[0-9]+", line)
    said = (folder / "daemon.log").read_text("utf-8")
    assert found is not None, f"no address: {line!r}; {said[-2000:]}"
    return Running(process, found[0].decode(), folder / "cache")
