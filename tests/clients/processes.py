"""Servers in processes of their own, on loopback: ours, proxies and other people's upstreams."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from coatcheck.protocol import Scope
from coatcheck.store import open_keys

# What would change how a client, a proxy or an upstream behaves.
_FOREIGN = (
    *("COATCHECK_", "COV_", "OPENAI_", "ANTHROPIC_", "GOOGLE_", "GEMINI_", "AZURE_", "LITELLM_"),
    *("LANGCHAIN_", "LANGSMITH_", "LOGFIRE_", "FAKELLM_", "LLMOCK_", "AIMOCK_", "NODE_OPTIONS"),
)
_USUAL: tuple[Scope, ...] = ("read", "write", "gateway")
_PATIENCE_SECONDS = 240.0  # LiteLLM takes six of a processor, which others may want too


def surroundings(**more: str) -> dict[str, str]:
    """Return this process's environment without settings of ours or theirs, and without proxies."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(_FOREIGN) and not key.lower().endswith("_proxy")
    }
    return kept | {"PYTHONDONTWRITEBYTECODE": "", "NO_COLOR": "1"} | more


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def make_key(data: Path, tenant: str, scopes: Sequence[Scope] = _USUAL) -> str:
    """Make a tenant's key in a data folder that nobody serves yet."""
    async with open_keys(data) as keys:
        return (await keys.create(tenant=tenant, scopes=scopes)).key.text


@asynccontextmanager
async def running(
    command: Sequence[str | Path],
    port: int,
    folder: Path,
    environment: Mapping[str, str] | None = None,
) -> AsyncGenerator[str]:
    """Run a command until its port answers; yield its origin. What it says goes into `folder`."""
    log = folder / f"{port}.log"
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *map(str, command),
            cwd=folder,
            env=environment or surroundings(),
            stdout=output,
            stderr=output,
        )
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while not await _answers(port):
                assert process.returncode is None, log.read_text("utf-8")[-2000:]
                await asyncio.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 20)
        except TimeoutError:
            process.kill()
            await process.wait()


@asynccontextmanager
async def serving(
    folder: Path, settings: str = "", environment: Mapping[str, str] | None = None
) -> AsyncGenerator[str]:
    """Run `coatcheck serve` over the data in `folder`."""
    port, config = free_port(), folder / "coatcheck.toml"
    await asyncio.to_thread(_write, config, settings)
    command = (sys.executable, "-m", "coatcheck.cli", "serve", "--port", str(port))
    data = ("--data", folder / "data", "--config", config)
    async with running((*command, *data), port, folder, environment) as url:
        yield url


async def output_of(command: Sequence[str], text: str) -> bytes:
    """Run a program with a text as its input; return what it prints."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=surroundings(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await process.communicate(text.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"{command}: {err.decode()[-2000:]}"
    return out


def _write(config: Path, settings: str) -> None:
    config.parent.mkdir(exist_ok=True)
    config.write_text(settings, "utf-8")


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
