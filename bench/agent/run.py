"""One agent's run through one chain: what crossed each hop, and whether every text was right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from .chain import Shape, chaining
from .program import Language, Told, node_command, python_command, running_program
from .screenshots import total_bytes
from .script import Role, Step

MAX_IMAGES_RATIO = 1.02
MAX_BYTES_A_TURN = 1000


@dataclass(frozen=True, slots=True)
class Way:
    """How an application gets to the model."""

    name: str
    language: Language
    shape: Shape
    client: str = "plain"
    """How its SDK's client is made; see `Role`."""
    counted: str = ""
    """The hop whose bytes up are promised; empty where nothing is."""


def up_limit(image_bytes: int, new_text_bytes: int, turns: int) -> int:
    """Return how many bytes may go up to the daemon in a run."""
    return round(MAX_IMAGES_RATIO * image_bytes) + new_text_bytes + MAX_BYTES_A_TURN * turns


PLAIN = Way("plain, Python", "python", "plain")
WAYS = (
    Way("edge, Python", "python", "edge", counted="edge-daemon"),
    Way("edge, Node", "node", "edge", counted="edge-daemon"),
    Way("wrap, Python", "python", "inline", "wrap", counted="app-daemon"),
    Way("http_client, Python", "python", "inline", "http_client", counted="app-daemon"),
)


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a run."""

    way: Way
    dialect: str
    told: Sequence[Told]
    seen: Sequence[str]
    """The fingerprint of each request that the model got."""
    up: Mapping[str, int]
    """Bytes up each hop."""
    cpu_seconds: float
    """Processor time of the application."""
    by_turn: Sequence[int]
    """Bytes up the counted hop, turn by turn."""
    image_bytes: int
    new_text_bytes: int
    """The JSON of all messages that the application added, without images and without the model's
    replies, and of its instructions and tools once."""

    @property
    def limit(self) -> int:
        """What may go up the counted hop."""
        return up_limit(self.image_bytes, self.new_text_bytes, len(self.told))

    @property
    def texts(self) -> list[str]:
        """What the application was told, turn by turn."""
        return [told.text or " ".join(told.raised) for told in self.told]


@dataclass(frozen=True, slots=True)
class Node:
    """Where Node and its packages are."""

    program: Path
    packages: Path


async def run_agent(
    folder: Path, way: Way, dialect: str, script: Sequence[Step], node: Node | None = None
) -> Run:
    """Take all turns of a script, in a chain of their own over an empty folder.

    Raises:
        ServiceError, ProgramError: a program of it did not work.
    """
    command = python_command()
    if way.language == "node":
        assert node is not None
        command = node_command(node.program, node.packages)
    told: list[Told] = []
    by_turn: list[int] = []
    async with chaining(folder, way.shape) as chain:
        counted = chain.hops[way.counted or chain.entry]
        role = Role(dialect, chain.url, way.client)
        async with running_program(command, role, folder / "application.log") as program:
            for step in script:
                before = counted.up
                told.append(await program.take(step))
                by_turn.append(counted.up - before)
            cpu_seconds = sum(psutil.Process(program.pid).cpu_times()[:2])
        seen, up = list(chain.provider.seen), chain.up
    images = {image for step in script for image in step.images}
    return Run(
        way=way,
        dialect=dialect,
        told=told,
        seen=seen,
        up=up,
        cpu_seconds=cpu_seconds,
        by_turn=by_turn,
        image_bytes=total_bytes(sorted(images)),
        new_text_bytes=role.said_once_bytes + sum(turn.new_text_bytes for turn in told),
    )
