"""The processes that serve one address together, and how they ask each other.

What a process remembers or counts for itself, an operator wants of all of them. So each has a door:
a unix socket in one folder that only their user enters. Behind it stand `Face.private` routes, which
no client reaches. A process that serves alone has no door, and nobody to ask.
"""

import asyncio
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector

_SUFFIX = ".door"
PATIENCE_SECONDS = 1.0
"""How long one of them may take to answer: an operator's page waits for the slowest."""


class Siblings:
    """The others of one server, as one of its processes sees them."""

    def __init__(self, folder: Path | None = None, name: str = "0") -> None:
        """`folder` holds the doors and belongs to whoever started the processes; None: alone.

        `name` is this process's own, unlike any other's in the folder.
        """
        self._folder = folder
        self.name = name
        """For what is told apart by process, such as a metric's label."""

    @property
    def door(self) -> Path | None:
        """Where this process listens for the others; None when it serves alone."""
        return None if self._folder is None else self._folder / f"{self.name}{_SUFFIX}"

    async def ask(
        self, path: str, *, method: str = "GET", patience_seconds: float = PATIENCE_SECONDS
    ) -> list[bytes]:
        """Return what each of the others answers behind its door, in no order; alone: nothing.

        `path` is of a route in `Face.private`. All are asked at once. One that is gone, takes too
        long or answers anything but 200 is left out. Those that drain are among them until they
        end.
        """
        doors = await asyncio.to_thread(self._others)
        answers = await asyncio.gather(
            *(_knock(door, method, path, patience_seconds) for door in doors)
        )
        return [answer for answer in answers if answer is not None]

    def _others(self) -> list[Path]:
        if self._folder is None:
            return []
        try:
            return [door for door in self._folder.glob(f"*{_SUFFIX}") if door != self.door]
        except OSError:  # whoever owned the folder has ended and taken it along
            return []


async def _knock(door: Path, method: str, path: str, seconds: float) -> bytes | None:
    try:
        async with (
            ClientSession(
                connector=UnixConnector(str(door)), timeout=ClientTimeout(total=seconds)
            ) as session,
            session.request(method, f"http://localhost{path}") as answer,
        ):
            body = await answer.read()
            return body if answer.status == 200 else None
    except (ClientError, TimeoutError, OSError):
        return None
