"""Conversations by `previous_response_id` through real processes, killed and started again meanwhile."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.responses import Response
from yarl import URL

from ..daemon.responses_talk import TURNS, added, ask, converse_whole, items_of
from ..daemon.strict_responses import StrictResponses, strict_responses
from .deployment import make_keys, run_daemon

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

KILLED_EACH = 1 if os.environ.get("COATCHECK_NIGHTLY") else 5  # turns


@pytest.fixture
async def provider() -> AsyncIterator[StrictResponses]:
    async with strict_responses() as running:
        yield running


@pytest.fixture
def settings(provider: StrictResponses) -> str:
    return (
        f'[[upstream]]\nname = "vision"\ndialect = "openai.responses"\n'
        f'base_url = "{provider.url}"\nhistory = "coatcheck"\n'
    )


async def take(url: str, key: str, at: int, before: Response | None) -> Response:
    """Take one turn with a client that knows nothing but the id; every second one is streamed."""
    named = {} if before is None else {"previous_response_id": before.id}
    items = added(TURNS[at], items_of(before) if before else [])
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key) as ai:
        return await ask(ai, stream=at % 2 == 1, input=items, **named)


async def expect_unknown(url: str, key: str, before: Response) -> None:
    """Expect that nobody knows the id."""
    with pytest.raises(openai.BadRequestError) as refused:
        await take(url, key, 0, before)
    assert refused.value.code == "previous_response_not_found"


async def expected_inputs() -> list[Any]:
    """Return what a provider gets from a client that sends everything itself."""
    async with (
        strict_responses() as direct,
        openai.AsyncOpenAI(base_url=direct.url, api_key="none") as ai,
    ):
        await converse_whole(ai, stream=False)
        assert not direct.refused
        return direct.inputs


def kill(served: Any) -> None:
    served.process.send_signal(signal.SIGKILL)
    served.process.wait()


async def test_a_server_that_is_killed_forgets_no_turn_that_was_answered(
    serve: Fixture, provider: StrictResponses, settings: str
) -> None:
    before: Response | None = None
    served: Any = None
    for at in range(len(TURNS)):
        if at % KILLED_EACH == 0:
            if served is not None:
                await asyncio.to_thread(kill, served)
            served = await asyncio.to_thread(serve, settings)
        before = await take(served.url, "none", at, before)
    assert not provider.refused
    assert provider.inputs == await expected_inputs()


async def test_a_conversation_goes_on_at_any_daemon_while_daemons_and_store_come_and_go(
    serve: Fixture, provider: StrictResponses, settings: str, tmp_path: Path
) -> None:
    key, [alice, bob] = await make_keys(tmp_path / "data", "alice", "bob")
    store = await asyncio.to_thread(serve, name="api")
    port = URL(store.url).port
    async with AsyncExitStack() as stack:
        folders = [tmp_path / name for name in ("left", "right")]
        daemons: list[Any] = []
        for folder in folders:
            folder.mkdir()
            daemons.append(
                await stack.enter_async_context(run_daemon(folder, store.url, key, settings))
            )
        before: Response | None = None
        for at in range(len(TURNS)):
            before = await take(daemons[at % 2].url, alice, at, before)
            if at == 3:
                await asyncio.to_thread(kill, store)
                store = await asyncio.to_thread(serve, name="api", port=port)
            if at == 5:
                await asyncio.to_thread(daemons[0].kill)
                daemons[0] = await stack.enter_async_context(
                    run_daemon(folders[0], store.url, key, settings)
                )
        assert not provider.refused
        assert provider.inputs == await expected_inputs()
        assert before is not None
        for daemon in daemons:  # bob guesses alice's id
            await expect_unknown(daemon.url, bob, before)
        assert len(provider.bodies) == 10


async def test_all_workers_know_an_id_and_none_when_it_is_deleted(
    serve: Fixture, provider: StrictResponses, settings: str
) -> None:
    served = await asyncio.to_thread(serve, f"workers = 3\n{settings}")
    before: Response | None = None
    for at in range(len(TURNS)):
        before = await take(served.url, "none", at, before)
    assert not provider.refused
    assert provider.inputs == await expected_inputs()
    assert before is not None
    async with openai.AsyncOpenAI(base_url=f"{served.url}/v1", api_key="none") as ai:
        await ai.responses.delete(before.id)
    for _ in range(6):  # each by a connection of its own, to any of the workers
        await expect_unknown(served.url, "none", before)
    assert len(provider.bodies) == 10
