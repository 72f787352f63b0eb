"""An agent's run in small: what goes up to the daemon, in each dialect and way.

`python -m bench --part agent` is the long form: 63 screenshots in 50 turns.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from bench.agent import (
    DIALECTS,
    WAYS,
    Chain,
    Provider,
    Role,
    Step,
    Told,
    Way,
    agent_script,
    chaining,
    node_command,
    providing,
    running_program,
    total_bytes,
    up_limit,
)

from ..clients.environments import NODE, NODE_MODULES, require
from .conversing import Album, agent, take

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

TURNS = 6
SCREENSHOTS = 8
SCREENSHOT_BYTES = 60_000

Take = Callable[[Step], Awaitable[Told]]


@dataclass
class Site:
    """One chain for all runs, each of which shows screenshots of its own."""

    chain: Chain
    twins: Provider
    album: Album
    folder: Path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("agent")
    async with AsyncExitStack() as stack:
        twins = await stack.enter_async_context(providing())
        chain = await stack.enter_async_context(chaining(folder, "edge"))
        yield Site(chain, twins, Album(folder, SCREENSHOT_BYTES), folder)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("way", WAYS, ids=lambda way: str(way.name))
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_images_and_text_go_up_once_and_texts_are_the_same(
    site: Site, dialect: str, way: Way
) -> None:
    script = agent_script(TURNS, [site.album.next() for _ in range(SCREENSHOTS)])
    twin = agent(Role(dialect, site.twins.url))
    expected = [await take(twin, step) for step in script]
    twin.client.close()
    counted = site.chain.hops[way.counted]
    entry = "app-edge" if way.shape == "edge" else "app-daemon"
    role = Role(dialect, site.chain.hops[entry].url, way.client)
    before, seen = counted.up, len(site.chain.provider.seen)
    told = await run(site, way, role, script)
    assert [each.text or each.words for each in told] == [each.text for each in expected]
    assert site.chain.provider.seen[seen:] == site.twins.seen[-TURNS:]
    images = total_bytes([image for step in script for image in step.images])
    text = role.said_once_bytes + sum(each.new_text_bytes for each in expected)
    up, limit = counted.up - before, up_limit(images, text, TURNS)
    print(
        f"\n{dialect}, {way.name}: {up} bytes up, limit {limit}: {images} of images, {text} of text"
    )
    assert images < up <= limit


async def run(site: Site, way: Way, role: Role, script: Sequence[Step]) -> list[Told]:
    """Take all turns in one application."""
    if way.language == "node":
        command = node_command(NODE, require(NODE_MODULES).folder)
        async with running_program(command, role, site.folder / "node.log") as program:
            return [await program.take(step) for step in script]
    app = agent(role)
    told = [await take(app, step) for step in script]
    app.client.close()
    return told
