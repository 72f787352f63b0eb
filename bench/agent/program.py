"""An application in a process of its own, told a turn at a time."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from .script import Role, Step

Language = Literal["python", "node"]

_PROGRAMS = Path(__file__).with_name("programs")
_MAX_LINE_BYTES = 1 << 20
_TURN_SECONDS = 300.0
_FOREIGN = ("COATCHECK_", "COV_", "COVERAGE_", "OPENAI_", "ANTHROPIC_", "NODE_OPTIONS")


class ProgramError(Exception):
    """An application ended, or said nothing for too long; with what it wrote."""


class Told(BaseModel):
    """What an application tells of a turn: an answer, or what its SDK raised."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = ""
    calls: int = 0
    messages: int = 0
    """How long its list is now, the reply in it."""
    new_text_bytes: int = 0
    """What the messages that it added weigh as JSON, without images and without the reply."""
    raised: tuple[str, ...] = ()
    """The names of the error's classes, the nearest first, and its HTTP status if it has one."""
    words: str = ""


class Program:
    """A running application."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    async def begin(self, role: Role) -> None:
        """Tell it what it is."""
        await self._tell(role.to_json())

    async def take(self, step: Step) -> Told:
        """Take a turn.

        Raises:
            ProgramError: it did not say what came of it.
        """
        await self._tell(step.to_json())
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise self._failed(f"nothing within {_TURN_SECONDS} s") from None
        try:
            return Told.model_validate_json(line)
        except ValidationError:
            raise self._failed(line.decode(errors="replace")) from None

    async def _tell(self, what: Mapping[str, object]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")
        await self._process.stdin.drain()

    def _failed(self, said: str) -> ProgramError:
        return ProgramError(f"{said} {self._log.read_text(errors='replace')[-2000:]}")


@asynccontextmanager
async def running_program(
    command: Sequence[str | Path], role: Role, log: Path
) -> AsyncGenerator[Program]:
    """Run an application; it ends with the block."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN) and not name.lower().endswith("_proxy")
    }
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *map(str, command),
            env=kept,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            limit=_MAX_LINE_BYTES,
        )
    program = Program(process, log)
    try:
        await program.begin(role)
        yield program
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def python_command() -> list[str | Path]:
    """Return how the application in Python is started: in this environment."""
    return [sys.executable, _PROGRAMS / "agent.py"]


def node_command(node: Path, packages: Path) -> list[str | Path]:
    """Return how the application in Node is started, with the packages of a folder."""
    return [node, _PROGRAMS / "agent.mjs", packages]
