"""The ways from Dify's API to a model, each with a plugin, an API and servers of its own.

The API is on one host; the plugin daemon, its plugins and the daemon beside them are on another. What
crosses between the hosts is counted on a hop, where that is little; where it is base64 the API counts its
bodies, so that these ways are not made slower.
"""

import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.clients.environments import Environment
from tests.dify.background import Background
from tests.dify.stand import Stand, standing

from coatcheck.client.dify import HookConfig, place

from ..agent import Hop, hopping
from ..server_process import ServerProcess
from .api import ApiProcess, Role

_ROOT = Path(__file__).resolve().parents[2]
_UPSTREAM = """
[[upstream]]
name = "plugins"
dialect = "dify.llm"
base_url = "{url}"
reuse = "{reuse}"
"""


@dataclass(frozen=True, slots=True)
class Way:
    """What stands between. Without any of it, base64 goes straight to the plugin daemon."""

    name: str
    sends: Literal["base64", "refs"] = "base64"
    """What the API sends."""
    has_edge: bool = False
    has_daemon: bool = True
    has_hook: bool = False

    @property
    def is_short(self) -> bool:
        """Whether little is to cross between the hosts."""
        return self.has_edge or self.sends == "refs"


BASE64 = Way("base64", has_daemon=False)
WAYS = (
    BASE64,
    Way("hook", has_hook=True),
    Way("edge", has_edge=True),
    Way("edge, hook", has_edge=True, has_hook=True),
    Way("refs", sends="refs"),
    Way("refs, hook", sends="refs", has_hook=True),
)


@dataclass(frozen=True, slots=True)
class Chain:
    """A running way. `hop` is between the hosts, where little crosses."""

    way: Way
    stand: Stand
    api: ApiProcess
    ours: tuple[ServerProcess, ...]
    hop: Hop | None

    @property
    def hop_bytes(self) -> int:
        """What the hop has carried so far, both ways."""
        return 0 if self.hop is None else self.hop.up + self.hop.down

    @property
    def at_daemon_bytes(self) -> int:
        """The bodies that the plugin daemon has got and sent back."""
        return sum(each.size + each.answer_bytes for each in self.stand.received)

    @property
    def lines_bytes(self) -> int:
        """The lines that the plugin has got and sent back."""
        figures = self.stand.figures()
        return figures.bytes_to_plugin + figures.bytes_from_plugin


@contextmanager
def chaining(
    folder: Path, way: Way, environment: Environment, background: Background
) -> Generator[Chain]:
    """Run a way over an empty folder; hops run in `background`.

    Raises:
        ServerStartError: a server of it did not start.
    """
    with ExitStack() as stack:
        stand = stack.enter_context(standing(environment, folder / "plugins"))
        url, store, hop = stand.url, None, None
        ours: list[ServerProcess] = []
        if way.has_daemon:
            daemon = stack.enter_context(_daemon(folder, stand, has_hook=way.has_hook))
            url = daemon.url
            ours.append(daemon)
        if way.is_short:
            hop = _hop(stack, background, url)
            url = store = hop.url
        if way.has_edge:
            edge = stack.enter_context(_serving(folder, "edge", "daemon", "--remote", url))
            url = edge.url
            ours.insert(0, edge)
        role = Role(
            url=url,
            key=stand.key,
            plugin_id=stand.plugin.plugin_id,
            model_url=stand.model.url,
            store=store if way.sends == "refs" else None,
        )
        api = stack.enter_context(ApiProcess(role, folder / "api.log"))
        yield Chain(way, stand, api, tuple(ours), hop)


def _daemon(folder: Path, stand: Stand, *, has_hook: bool) -> ServerProcess:
    """Return the daemon beside the plugin daemon, with its store; and put the hook into the plugin."""
    settings = folder / "daemon.toml"
    reuse = "ref" if has_hook else "inline"
    settings.write_text(_UPSTREAM.format(url=stand.url, reuse=reuse), "utf-8")
    socket = folder / "daemon.sock"
    if has_hook:
        for placed in place(stand.plugin.folder, HookConfig(socket=socket)):
            assert placed.state == "placed", placed
    arguments = ("--data", str(folder / "data"), "--config", str(settings), "--uds", str(socket))
    return _serving(folder, "daemon", "serve", *arguments)


def _serving(folder: Path, name: str, *arguments: str) -> ServerProcess:
    command = [sys.executable, "-m", "coatcheck.cli", *arguments, "--port", "0"]
    return ServerProcess(command, cwd=_ROOT, log=folder / f"{name}.log")


def _hop(stack: ExitStack, background: Background, target: str) -> Hop:
    opening = hopping(target)
    hop = background.run(opening.__aenter__())
    stack.callback(lambda: background.run(opening.__aexit__(None, None, None)))
    return hop
