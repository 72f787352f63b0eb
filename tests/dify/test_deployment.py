"""Dify's API, the daemon as `deploy/dify` has it, and the plugin daemon, with the keys of docs/dify.md."""

import asyncio
import sys
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from bench.server_process import ServerProcess

from coatcheck.client.dify import HookConfig, place

from ..clients.environments import DIFY_OLD
from ..clients.processes import make_key
from .api_client import ApiClient, DaemonError
from .prompt import image, invocation, picture, user
from .stand import Stand, standing

pytestmark = pytest.mark.system
DEPLOY = Path(__file__).resolve().parents[2] / "deploy/dify"
SHOWN = picture(200_000)


@dataclass(frozen=True)
class Deployed:
    """What runs, and the keys of the API in front of the daemon, and of the edge."""

    stand: Stand
    daemon: ServerProcess
    edge: ServerProcess
    key: str


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Generator[Deployed]:
    """Everything, with the settings as they are in the end: refs as far as the plugins."""
    folder = tmp_path_factory.mktemp("deployed")
    data = folder / "data"
    turns = asyncio.run(make_key(data, "dify"))
    read = asyncio.run(make_key(data, "dify", ("read",)))
    (folder / "edge.key").write_text(turns)
    settings = (DEPLOY / "coatcheck.toml").read_text("utf-8")
    with ExitStack() as stack:
        stand = stack.enter_context(standing(DIFY_OLD, folder / "plugins"))
        settings = settings.replace('mode = "observe"', 'mode = "on"').replace("# reuse", "reuse")
        settings = settings.replace("http://plugin_daemon:5002", stand.url)
        (folder / "daemon.toml").write_text(settings, "utf-8")
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("PLUGIN_DAEMON_SERVER_KEY", stand.key)

        def serving(name: str, *arguments: str) -> ServerProcess:
            command = [sys.executable, "-m", "coatcheck.cli", *arguments, "--port", "0"]
            server = ServerProcess(command, cwd=folder, log=folder / f"{name}.log")
            return stack.enter_context(server)

        daemon = serving(
            *("daemon", "serve", "--data", str(data)),
            *("--config", str(folder / "daemon.toml")),
        )
        edge = serving(
            *("edge", "daemon", "--remote", daemon.url, "--key-file", str(folder / "edge.key"))
        )
        placed = [*place(stand.plugin.folder, HookConfig(daemon=daemon.url, key=read))]
        assert [each.state for each in placed] == ["placed"]
        yield Deployed(stand, daemon, edge, turns)


@pytest.mark.parametrize("way", ["front", "edge"])
def test_an_image_reaches_the_model_and_the_keys_whom_they_are_for(
    deployed: Deployed, way: str
) -> None:
    stand = deployed.stand
    stand.forget()
    url, key = (
        (deployed.daemon.url, deployed.key) if way == "front" else (deployed.edge.url, stand.key)
    )
    with ApiClient(url, key, stand.plugin.plugin_id) as api:
        data = invocation(stand.model.url, [user("What is it?", image(SHOWN))])
        assert api.count_tokens(data)
        assert len(api.invoke(data).chunks) == stand.model.pieces + 1
        assert api.get("management/list").json()["data"]
    (asked,) = stand.asked
    assert [part.sha256 for part in asked.parts] == [SHOWN.sha256]
    assert len(stand.received) == 3
    for received in stand.received:
        assert received.size < 2000
        assert ("X-Api-Key", stand.key) in received.headers
        assert not [value for _, value in received.headers if "cck_" in value]


def test_the_plugin_daemons_own_key_opens_nothing_in_front(deployed: Deployed) -> None:
    stand = deployed.stand
    with (
        ApiClient(deployed.daemon.url, stand.key, stand.plugin.plugin_id) as api,
        pytest.raises(DaemonError) as caught,
    ):
        api.invoke(invocation(stand.model.url, [user("Hello")]))
    assert caught.value.kind == "InvokeAuthorizationError"
