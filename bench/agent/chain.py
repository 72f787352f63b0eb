"""The chains that an agent's run goes through, with a hop before each program.

`plain`: application, upstream. `inline`: application, daemon (and its store), upstream; the
application sends images in base64, or has a wrapper around its SDK's client. `edge`: an edge beside the
application, which it sends base64 to, and then the same.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
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


@asynccontextmanager
async def chaining(folder: Path, shape: Shape, daemon_settings: str = "") -> AsyncGenerator[Chain]:
    """Run a chain with a store, a daemon and an edge that know nothing yet.

    Raises:
        ServiceError: a program of it did not start.
    """
    async with AsyncExitStack() as stack:
        hops: dict[str, Hop] = {}
        services: dict[str, Service] = {}
        provider = await stack.enter_async_context(providing())

        async def join(name: str, url: str) -> str:
            hops[name] = await stack.enter_async_context(hopping(url))
            return hops[name].url

        async def run(name: str, *arguments: str, settings: str = "") -> str:
            at = folder / name
            at.mkdir()
            service = await stack.enter_async_context(
                serving(at, name, *arguments, settings=settings)
            )
            services[name] = service
            return service.url

        if shape == "plain":
            await join("app-upstream", provider.url)
            yield Chain(provider, hops, services, "app-upstream")
            return
        upstream = await join("daemon-upstream", provider.url)
        store = await join("daemon-store", await run("store", "api", "--data", "data"))
        settings = daemon_settings + _toml(upstreams(upstream, "inline"))
        daemon = ("daemon", "--store", store, "--cache", "cache")
        url = await run("daemon", *daemon, settings=settings)
        if shape == "inline":
            await join("app-daemon", url)
            yield Chain(provider, hops, services, "app-daemon")
            return
        beyond = _toml(upstreams(await join("edge-daemon", url), "coatcheck"))
        await join("app-edge", await run("edge", *_EDGE, settings=beyond))
        yield Chain(provider, hops, services, "app-edge")


_EDGE = ("daemon", "--cache", "cache")
"""How an edge is started: a daemon without a store of its own."""


def upstreams(url: str, reuse: str) -> list[dict[str, str]]:
    """Return the settings of one upstream for each dialect, all at one origin."""
    return [
        {
            "name": dialect,
            "dialect": dialect,
            "base_url": url if dialect == "anthropic.messages" else f"{url}/v1",
            "reuse": reuse,
        }
        for dialect in DIALECTS
    ]


def _toml(tables: list[dict[str, str]]) -> str:
    lines = (
        ["[[upstream]]", *(f'{key} = "{value}"' for key, value in table.items())]
        for table in tables
    )
    return "\n".join(line for table in lines for line in (*table, ""))
