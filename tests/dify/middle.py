"""What is ours between Dify's API and its plugin daemon, on a loop of its own in a thread.

    API -> `coatcheck serve` -> plugin daemon                        `in_front`: without keys, or with
    API -> `coatcheck daemon --remote` -> a counted hop
        -> `coatcheck serve` -> plugin daemon                        `at_the_edge`: with keys

To the API each is one URL in the place of `Stand.url`. The fixture `fronts` gives what stands before an
SDK's stand, started once for a worker.
"""

from collections.abc import Generator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.agent import Hop, hopping

import coatcheck
from coatcheck.client.dify import HookConfig, place

from ..system.deployment import make_keys
from ..system.station import Clock, Station
from .api_client import ApiClient
from .background import Background
from .prompt import Picture
from .stand import Stand

MAX_BODY_BYTES = 6 * 1024 * 1024
"""Of a request to a plugin that runs serverless."""
_TENANT = "dify"
_DAEMON_KEY = "PLUGIN_DAEMON_KEY"


@dataclass
class Front:
    """`coatcheck serve` before a stand. `key` is a tenant's where there are keys."""

    stand: Stand
    url: str
    data: Path
    key: str | None = None

    def put(self, *pictures: Picture) -> list[str]:
        """Put pictures into its store; return their refs."""
        with coatcheck.Client(self.url, self.key) as client:
            return [client.put(each.data).ref for each in pictures]

    def api(self) -> ApiClient:
        """Return Dify's client with this in the plugin daemon's place; whoever asked closes it."""
        return client_of(self.stand, self.url, self.key)


class Way(Protocol):
    """What stands before a stand, however it does."""

    url: str

    @property
    def stand(self) -> Stand:
        """What is behind."""
        ...

    def put(self, *pictures: Picture) -> list[str]:
        """Put pictures where this finds them; return their refs."""
        ...

    def api(self) -> ApiClient:
        """Return Dify's client with this in the plugin daemon's place; whoever asked closes it."""
        ...


@dataclass
class Edge:
    """An edge beside the API, the hop to the `front` beside the plugin daemon, and the store there."""

    front: Front
    url: str
    hop: Hop = field(repr=False)

    @property
    def stand(self) -> Stand:
        """What is behind."""
        return self.front.stand

    @property
    def passed(self) -> int:
        """The bytes between the hosts so far, both ways, heads of requests and all."""
        return self.hop.up + self.hop.down

    def put(self, *pictures: Picture) -> list[str]:
        """Put pictures into the store beside the plugin daemon; return their refs."""
        return self.front.put(*pictures)

    def api(self) -> ApiClient:
        """Return Dify's client with this in the plugin daemon's place; whoever asked closes it."""
        return client_of(self.stand, self.url)


def client_of(stand: Stand, url: str = "", key: str | None = None) -> ApiClient:
    """Return Dify's client of a plugin daemon, or of what stands before it: PLUGIN_DAEMON_URL and _KEY."""
    return ApiClient(url or stand.url, key or stand.key, stand.plugin.plugin_id)


@contextmanager
def in_front(
    stand: Stand, folder: Path, *, has_keys: bool = False, **upstream: str
) -> Generator[Front]:
    """Run a server before a stand; `upstream` are further keys of its settings.

    With keys the API has one of ours, and the server has the plugin daemon's.
    """
    if has_keys:
        upstream["api_key_env"] = _DAEMON_KEY
    with _open_stack() as (background, stack):
        yield background.run(_begin_front(stack, stand, folder, has_keys, upstream))


@contextmanager
def at_the_edge(stand: Stand, folder: Path, **upstream: str) -> Generator[Edge]:
    """Run an edge, and a server with keys before a stand, with a hop between them."""

    async def begin(stack: AsyncExitStack) -> Edge:
        # What the API sends is the plugin daemon's key, and the edge sends ours beside it.
        front = await _begin_front(stack, stand, folder, True, upstream)
        hop = await stack.enter_async_context(hopping(front.url))
        key = {"COATCHECK_KEY": front.key or ""}
        return Edge(front, await _started(stack, "daemon", {"remote": hop.url}, key), hop)

    with _open_stack() as (background, stack):
        yield background.run(begin(stack))


def give_hook(front: Front, *, splice: bool | None = None) -> None:
    """Put the hook into the plugin, which is to ask that server; a plugin that runs has it when it starts."""
    config = HookConfig(daemon=front.url, key=front.key, splice=splice)
    (placed,) = place(front.stand.plugin.folder, config)
    assert placed.state in ("placed", "replaced"), placed


async def _begin_front(
    stack: AsyncExitStack, stand: Stand, folder: Path, has_keys: bool, upstream: dict[str, str]
) -> Front:
    data = folder / "data"
    key = (await make_keys(data, _TENANT))[1][0] if has_keys else None
    settings = {
        "data": data,
        "upstream": [{"name": "dify", "dialect": "dify.llm", "base_url": stand.url, **upstream}],
    }
    url = await _started(stack, "serve", settings, {_DAEMON_KEY: stand.key})
    return Front(stand, url, data, key)


async def _started(
    stack: AsyncExitStack, name: str, settings: Mapping[str, object], environment: Mapping[str, str]
) -> str:
    station = Station(name, Clock(), settings, environment=environment)
    stack.push_async_callback(station.stop)
    await station.start()
    return station.url


@contextmanager
def _open_stack() -> Generator[tuple[Background, AsyncExitStack]]:
    with Background() as background:
        stack = AsyncExitStack()
        try:
            yield background, stack
        finally:
            background.run(stack.aclose())
