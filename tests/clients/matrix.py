"""Every client, dialect, form and manner, tried once against real processes.

    client -> relay -> serve (echo)
    client -> LiteLLM's proxy -> relay -> serve (echo)
    client -> relay -> serve -> LiteLLM's proxy -> relay -> serve (echo)

Each client's program runs all its cells in one process. What came of a cell is judged by what the
relay saw, not by what the client says of itself.
"""

import asyncio
import base64
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from aiohttp import ClientSession, FormData

from coatcheck.client import AsyncClient

from .environments import HERE, LITELLM, NODE, NODE_MODULES, Environment, require
from .processes import free_port, make_key, output_of, running, serving, surroundings
from .relay import Relay, relaying
from .roster import CLIENTS, Client
from .trial import DIGEST, PIXEL, Outcome, Trial, judge, trials

_PROGRAMS = Path(__file__).with_name("programs")
_LITELLM_KEY = "sk-litellm-" + "0123456789abcdef" * 2
_STRANGER = "cck_" + "a" * 40  # the shape of a key of ours, but nobody's
_AT_ONCE = 2  # programs that run; most of their time is spent on importing


@dataclass(frozen=True)
class Site:
    """Where a route begins, with which key, and the relay that sees what reaches us."""

    url: str
    key: str
    relay: Relay
    file_id: str
    full_key: str
    """Of a tenant that may hold nothing more."""


async def run_matrix() -> list[Outcome]:
    """Start what is needed, run every client's program, and judge each cell, in the roster's order."""
    await asyncio.to_thread(_lay_out_modules)
    turn = asyncio.Semaphore(_AT_ONCE)
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        async with _straight(Path(folder)) as end, asyncio.TaskGroup() as group:
            work = [
                group.create_task(_run(program, lambda _: end, turn))
                for program in _grouped([c for c in CLIENTS if c.route == "straight"])
            ]
            # LiteLLM's proxy takes six seconds to start, and the others need not wait for it.
            async with _around_litellm(Path(folder), end) as site_of, asyncio.TaskGroup() as later:
                proxied = [
                    later.create_task(_run(program, site_of, turn))
                    for program in _grouped([c for c in CLIENTS if c.route != "straight"])
                ]
    for task in (*work, *proxied):
        outcomes += task.result()
    order = {client.name: at for at, client in enumerate(CLIENTS)}
    return sorted(outcomes, key=lambda outcome: order[outcome.trial.client.name])


def _grouped(clients: Sequence[Client]) -> list[list[Client]]:
    """Put the clients together that one process can run."""

    def where(client: Client) -> tuple[str, str]:
        return client.environment.name, client.program

    return [list(group) for _, group in groupby(sorted(clients, key=where), key=where)]


@asynccontextmanager
async def _straight(folder: Path) -> AsyncGenerator[Site]:
    async with AsyncExitStack() as stack:
        yield await _kept_by(stack, folder / "end")


@asynccontextmanager
async def _around_litellm(folder: Path, end: Site) -> AsyncGenerator[Callable[[Client], Site]]:
    """Run LiteLLM's proxy with us behind it, and another of us that has it as the upstream."""
    config, port = folder / "litellm.yaml", free_port()
    config.write_text(_litellm_settings(end), "utf-8")
    command = (require(LITELLM).python, "-c", "from litellm import run_server; run_server()")
    options = ("--config", config, "--host", "127.0.0.1", "--port", str(port))
    environment = surroundings(LITELLM_MASTER_KEY=_LITELLM_KEY, LITELLM_LOCAL_MODEL_COST_MAP="True")
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(
            running((*command, *options), port, folder, environment)
        )
        onward = await _kept_by(stack, folder / "onward", _upstreams(proxy))
        through = Site(proxy, _LITELLM_KEY, end.relay, end.file_id, end.full_key)
        yield lambda client: through if client.route == "through" else onward


async def _kept_by(stack: AsyncExitStack, folder: Path, settings: str = "") -> Site:
    """Run a server that holds the picture, and a relay before it."""
    key = await make_key(folder / "data", "acme")
    full_key = await make_key(folder / "data", "full")
    settings = f"tenant_quotas = {{ full = 1 }}\n{settings}"
    environment = surroundings(LITELLM_KEY=_LITELLM_KEY)
    url = await stack.enter_async_context(serving(folder, settings, environment))
    async with AsyncClient(url, key=key) as client:
        assert (await client.put(PIXEL)).digest == DIGEST
    relay = await stack.enter_async_context(relaying(url))
    return Site(relay.url, key, relay, await hand_in_file(url, key), full_key)


async def hand_in_file(url: str, key: str) -> str:
    """Make a file of the picture, as OpenAI's Files API has it, and return its id."""
    form = FormData({"purpose": "user_data"})
    form.add_field("file", PIXEL, filename="pixel.png", content_type="image/png")
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        ClientSession(raise_for_status=True) as http,
        http.post(f"{url}/v1/files", data=form, headers=headers) as answer,
    ):
        made = await answer.json()
    return str(made["id"])


def _litellm_settings(end: Site) -> str:
    entries = [
        {
            "model_name": f"{provider}-*",
            "litellm_params": {
                "model": f"{provider}/{provider}-*",
                "api_base": f"{end.url}{path}",
                "api_key": end.key,
            },
        }
        for provider, path in (("openai", "/v1"), ("anthropic", ""))
    ]
    return json.dumps({"model_list": entries})  # which is YAML too


def _upstreams(proxy: str) -> str:
    paths = {"openai.chat": "/v1", "openai.responses": "/v1", "anthropic.messages": ""}
    return "\n".join(
        f'[[upstream]]\nname = "{dialect}"\ndialect = "{dialect}"\n'
        f'base_url = "{proxy}{path}"\napi_key_env = "LITELLM_KEY"\n'
        for dialect, path in paths.items()
    )


async def _run(
    clients: Sequence[Client], site_of: Callable[[Client], Site], turn: asyncio.Semaphore
) -> list[Outcome]:
    """Run one program with all its clients' cells."""
    planned = [
        (trial, site)
        for client in clients
        for site in (site_of(client),)
        for trial in trials(client)
    ]
    plan = json.dumps([_cell(trial, site) for trial, site in planned])
    command = _command(clients[0].environment, clients[0].program)
    async with turn:
        out = await output_of(command, plan)
    told = {line["model"]: line for line in map(json.loads, out.splitlines())}
    return [
        judge(trial, told[trial.model], site.relay.seen.get(trial.model, []), site.file_id)
        for trial, site in planned
    ]


def _command(environment: Environment, program: str) -> list[str]:
    folder = require(environment).folder
    if environment is not NODE_MODULES:
        python = sys.executable if environment is HERE else environment.python
        return [str(python), str(_PROGRAMS / program)]
    return [str(NODE), str(folder / program)]


def _lay_out_modules() -> None:
    """Copy npm's programs to their packages: a module finds packages beside itself."""
    for module in _PROGRAMS.glob("*.mjs"):
        shutil.copy(module, require(NODE_MODULES).folder)


def _cell(trial: Trial, site: Site) -> dict[str, object]:
    kind, text = trial.handed(site.file_id)
    keys = {"key_invalid": _STRANGER, "quota_exceeded": site.full_key}
    return {
        "url": site.url,
        "key": keys.get(trial.what, site.key),
        "dialect": trial.dialect,
        "model": trial.model,
        "is_streamed": trial.is_streamed,
        "picture": {"kind": kind, "text": text, "pixel": base64.b64encode(PIXEL).decode()},
    }
