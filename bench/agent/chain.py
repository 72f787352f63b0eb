"""The chains that an agent's run goes through, with a hop before each program.

`plain`: application, upstream. `inline`: application, daemon (and its store), upstream; the
application sends images in base64, or has a wrapper around its SDK's client. `edge`: an edge beside the
application, which it sends base64 to, and then the same; the daemon can be asked without the edge too.
"""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .hop import Hop, hopping
from .service import Service, serving
from .speech import DIALECTS
from .upstream import Provider, providing

Shape = Literal["plain", "inline", "edge"]


@dataclass(frozen=True, slots=True)
class Chain:
    """A running chain. `hops` are by the two programs that they join, `services` by name."""

    provider: Provider
    hops: Mapping[str, Hop]
    services: Mapping[str, Service]
    entry: str
    """The hop that the application asks at."""

    @property
    def url(self) -> str:
        """Where the application asks."""
        return self.hops[self.entry].url

    @property
    def up(self) -> dict[str, int]:
        """Bytes that have gone up each hop so far."""
        return {name: hop.up for name, hop in self.hops.items()}


Front = Callable[[str], AbstractAsyncContextManager[str]]
"""Puts another program in front of an origin, and gives the origin of that."""


@asynccontextmanager
async def chaining(
    folder: Path, shape: Shape, daemon_settings: str = "", front: Front | None = None
) -> AsyncGenerator[Chain]:
    """Run a chain with a store, a daemon and an edge that know nothing yet.

    A `front` stands between the edge and the daemon; the hop `edge-daemon` is before it.

    Raises:
        ServiceError: a program of it did not start.
    """
    async with AsyncExitStack() as stack:
        building = _Building(folder, stack)
        provider = await stack.enter_async_context(providing())
        if shape == "plain":
            await building.join("app-upstream", provider.url)
            yield Chain(provider, building.hops, building.services, "app-upstream")
            return
        upstream = await building.join("daemon-upstream", provider.url)
        store = await building.run("store", "api", "--data", "data")
        store = await building.join("daemon-store", store)
        settings = daemon_settings + _toml(upstreams(upstream))
        daemon = ("daemon", "--store", store, "--cache", "cache")
        url = await building.run("daemon", *daemon, settings=settings)
        await building.join("app-daemon", url)
        if shape == "edge":
            if front is not None:
                url = await stack.enter_async_context(front(url))
            remote = await building.join("edge-daemon", url)
            await building.join(
                "app-edge", await building.run("edge", "daemon", "--remote", remote)
            )
        entry = "app-edge" if shape == "edge" else "app-daemon"
        yield Chain(provider, building.hops, building.services, entry)


@dataclass(slots=True)
class _Building:
    """A chain that is being put together."""

    folder: Path
    stack: AsyncExitStack
    hops: dict[str, Hop] = field(default_factory=dict[str, Hop])
    services: dict[str, Service] = field(default_factory=dict[str, Service])

    async def join(self, name: str, url: str) -> str:
        """Put a hop before an origin; return the hop's."""
        self.hops[name] = await self.stack.enter_async_context(hopping(url))
        return self.hops[name].url

    async def run(self, name: str, *arguments: str, settings: str = "") -> str:
        """Run a command that serves, in a folder of its own; return its origin."""
        at = self.folder / name
        at.mkdir()
        running = serving(at, name, *arguments, settings=settings)
        self.services[name] = await self.stack.enter_async_context(running)
        return self.services[name].url


def upstreams(url: str) -> list[dict[str, str]]:
    """Return the settings of one upstream for each dialect, all at one origin, as TOML has them."""
    return [
        {
            "name": dialect,
            "dialect": dialect,
            "base_url": url if dialect == "anthropic.messages" else f"{url}/v1",
        }
        for dialect in DIALECTS
    ]


def _toml(tables: list[dict[str, str]]) -> str:
    lines = (
        ["[[upstream]]", *(f'{key} = "{value}"' for key, value in table.items())]
        for table in tables
    )
    return "\n".join(line for table in lines for line in (*table, ""))
