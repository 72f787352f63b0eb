"""A conversation through a chain beside the same one with the model itself, turn by turn.

The application is the bench's, with an official SDK. The model's words follow from all that it got, so
the two say the same as long as every request arrives as it was meant.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from bench.agent import Provider, Role, Step, Told, screenshot
from bench.agent.programs.agent import AGENTS, Agent, make_client

RETRIES = 8


@dataclass
class Album:
    """Small screenshots, no two alike."""

    folder: Path
    size: int = 20_000
    count: int = 0

    def next(self) -> Path:
        """Paint the next one."""
        data, ending = screenshot(self.size, self.count)
        file = self.folder / f"{self.count}.{ending}"
        file.write_bytes(data)
        self.count += 1
        return file


def steps(album: Album, seed: object, *, is_streamed: bool) -> Iterator[Step]:
    """Yield turns without end, each with a screenshot of its own."""
    random = Random(str(seed))
    while True:
        texts = tuple(
            f"{seed}: {random.random()} {'über' * random.randrange(40)}" for _ in range(2)
        )
        yield Step(texts, (album.next(),), is_streamed)


def agent(role: Role) -> Agent:
    """Return an application that begins."""
    told = dict(role.to_json())
    return AGENTS[role.dialect](told, make_client(told))


async def take(application: Agent, step: Step) -> Told:
    """Take a turn, in a thread: the SDK's client waits."""
    return Told.model_validate(await asyncio.to_thread(application.take, dict(step.to_json())))


@dataclass
class Conversation:
    """The application through the chain, and its twin that asks the model itself."""

    role: Role
    provider: Provider
    """The model behind the chain."""
    twins: Provider
    """The one that the twin asks."""
    meant: list[str] = field(default_factory=list[str])
    """The fingerprints of the requests that were meant so far."""

    def __post_init__(self) -> None:
        straight = Role(self.role.dialect, self.twins.url, tool_count=self.role.tool_count)
        self.app, self.twin = agent(self.role), agent(straight)
        self.patient = make_client({**self.role.to_json(), "max_retries": RETRIES})

    async def take(self, step: Step, *, is_patient: bool = True) -> tuple[Told, Told]:
        """Take a turn, both ways; return what the application and its twin were told.

        Who is patient resends as its SDK does when it is told to be.
        """
        before = len(self.twins.seen)
        expected = await take(self.twin, step)
        self.meant += self.twins.seen[before:]
        return await self.again(step, is_patient=is_patient), expected

    async def again(self, step: Step, *, is_patient: bool = True) -> Told:
        """Take the application's part of a turn, for example when it was told an error before."""
        client, self.app.client = self.app.client, self.patient if is_patient else self.app.client
        try:
            return await take(self.app, step)
        finally:
            self.app.client = client

    def close(self) -> None:
        """Close the clients. The conversation is over."""
        for client in (self.app.client, self.twin.client, self.patient):
            client.close()
