"""graphon's SlimClient run in its own environment, with our slim executable below it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from ..clients.environments import Environment, require
from ..clients.processes import surroundings
from .prompt import settings
from .stand import Stand

_PROGRAMS = Path(__file__).with_name("programs")


class TurnFacts(BaseModel):
    """What graphon saw of one turn. `error` is the message of what it raised."""

    request_bytes: int
    files_read: int = 0
    chunks: int = 0
    text: str = ""
    usage: int | None = None
    prompt_messages: int = 0
    tokens: int | None = None
    seconds: float = 0.0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """A message: a role, its text, the paths of its images."""

    role: str
    text: str
    images: tuple[Path, ...] = ()


def slim_binary(folder: Path) -> Path:
    """Write the executable that graphon starts, and return its path."""
    path = folder / "slim"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{_PROGRAMS / "slim.py"}" "$@"\n')
    path.chmod(0o755)
    return path


def run_graphon(
    environment: Environment,
    stand: Stand,
    folder: Path,
    turns: Sequence[Sequence[Told]],
    *,
    daemon_url: str,
    refs: Mapping[Path, str] | None = None,
    counts: bool = False,
) -> list[TurnFacts]:
    """Let graphon ask the stand's plugin turn by turn; return what it saw of each.

    `daemon_url` is of what stands in the middle, which takes the stand's key. In a turn whose images
    are all in `refs`, graphon sends the URLs that are named there, and reads no file. With
    `counts` it asks for the tokens of each turn first.
    """
    told: dict[str, object] = {
        "folder": str(folder),
        "daemon": daemon_url,
        "key": stand.key,
        "plugin": stand.plugin.unique_identifier,
        "invocation": settings(stand.model.url),
        "refs": {str(path): ref for path, ref in (refs or {}).items()},
        "counts": counts,
        "turns": [
            [{"role": m.role, "text": m.text, "images": [*map(str, m.images)]} for m in turn]
            for turn in turns
        ],
    }
    done = subprocess.run(
        [require(environment).python, _PROGRAMS / "graphon_client.py"],
        input=json.dumps(told) + "\n",
        env=surroundings(SLIM_BINARY_PATH=os.fspath(slim_binary(folder))),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [TurnFacts.model_validate_json(line) for line in done.stdout.splitlines()]
