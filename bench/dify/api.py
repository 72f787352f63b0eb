"""Dify's API seen from outside: what its process is told, and what it tells."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from tests.clients.processes import surroundings

from ..caller import UnexpectedAnswerError

_ROOT = Path(__file__).resolve().parents[2]
_STOP_SECONDS = 15.0


class Role(BaseModel):
    """Whom it asks. With `store`, an origin, it sends refs."""

    model_config = ConfigDict(frozen=True)

    url: str
    key: str
    plugin_id: str
    model_url: str
    store: str | None = None


class Said(BaseModel):
    """A user's message, with the paths of its images, and its answer, where it has one yet."""

    model_config = ConfigDict(frozen=True)

    text: str
    images: tuple[str, ...] = ()
    answer: str | None = None


class Facts(BaseModel):
    """What came of a turn; bytes are of bodies, of the turn and of the counting before it."""

    model_config = ConfigDict(frozen=True)

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_rss_bytes: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    counting_bytes: int = 0
    text: str = ""
    error: str | None = None

    @property
    def body_bytes(self) -> int:
        """All bodies, both ways."""
        return self.request_bytes + self.response_bytes + self.counting_bytes


TURN = TypeAdapter(Sequence[Said])
"""What is told of a turn: all messages up to the one that is asked."""


class ApiProcess:
    """Starts it when entered, and ends it when left."""

    def __init__(self, role: Role, log: Path) -> None:
        """Describe it; what it says on standard error goes to the end of `log`."""
        self._role = role
        self._log = log

    def __enter__(self) -> Self:
        """Start it."""
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "bench.dify.api_process"],
                cwd=_ROOT,
                env=surroundings(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._tell(self._role.model_dump_json().encode())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it, and wait."""
        self._child.kill()
        self._child.communicate(timeout=_STOP_SECONDS)

    def take(self, turns: Sequence[Said]) -> Facts:
        """Let it ask what the last of these turns asks.

        Raises:
            UnexpectedAnswerError: it got an error, or ended.
        """
        self._tell(TURN.dump_json(turns))
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        try:
            facts = Facts.model_validate_json(line)
        except ValidationError as error:
            said = self._log.read_text(errors="replace")[-2000:]
            raise UnexpectedAnswerError(f"Dify's API: {line!r} {said}") from error
        if facts.error is not None:
            raise UnexpectedAnswerError(f"Dify's API: {facts.error}")
        return facts

    def _tell(self, line: bytes) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(line + b"\n")
        self._child.stdin.flush()
