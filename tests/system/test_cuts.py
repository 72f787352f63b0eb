"""The connection between any two programs of a chain is cut at a byte.

The application gets the right answer or an error that says that something broke, never a wrong or a
shorter answer; the model gets what was meant, and no turn twice unless the application sent it twice.
`COATCHECK_NIGHTLY` cuts at many more bytes.
"""

import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from random import Random

import pytest
import pytest_asyncio
from bench.agent import DIALECTS, Chain, Direction, Provider, Role, Told, chaining, providing

from .conversing import Album, Conversation, steps

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

NIGHTLY = bool(os.environ.get("COATCHECK_NIGHTLY"))
WRAPPED = "app-daemon"
"""The hop of applications whose SDK has a wrapper, or a transport of ours; all others have an edge."""
HOPS = ("app-edge", "edge-daemon", "daemon-store", "daemon-upstream", WRAPPED)
DIRECTIONS: tuple[Direction, ...] = ("up", "down")
CUTS = 60 if NIGHTLY else 1  # of each hop and direction
TOOLS = 6
HONEST = {"APIConnectionError", "APIError", "TransportError", "EOFError"}
"""An honest end is one of these, or a status of 500 and above."""


@dataclass
class Site:
    """A chain that lives as long as the tests of this module, and what happened in it."""

    chain: Chain
    twins: Provider
    album: Album
    number: int = 0
    usual: dict[object, int] = field(default_factory=dict[object, int])
    outcomes: Counter[str] = field(default_factory=Counter[str])

    def conversation(self, hop: str, dialect: str, retries: int = 0) -> Conversation:
        """Begin a conversation along a hop, whose SDK resends so often by itself."""
        entry, way = self.chain.entry, "plain"
        if hop == WRAPPED:
            entry, way = WRAPPED, ("wrap", "http_client")[self.number % 2]
        url = self.chain.hops[entry].url
        role = Role(dialect, url, way, tool_count=TOOLS, max_retries=retries)
        return Conversation(role, self.chain.provider, self.twins)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("cuts")
    async with AsyncExitStack() as stack:
        twins = await stack.enter_async_context(providing())
        chain = await stack.enter_async_context(chaining(folder, "edge"))
        made = Site(chain, twins, Album(folder))
        yield made
    print(f"\ncuts: {dict(made.outcomes)}")


def offset_in(size: int, number: int, random: Random) -> int:
    """Return a byte to cut at: the first, the last, then others, as often near the ends."""
    last = max(size - 1, 0)
    if NIGHTLY and number < 2:
        return last * number
    near = min(last, round(2 ** random.uniform(0, size.bit_length())))
    return random.choice([near, last - near, random.randint(0, last)])


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("hop", HOPS)
async def test_a_cut_is_an_honest_error_or_nothing(
    site: Site, hop: str, direction: Direction
) -> None:
    random = Random(f"{hop} {direction}")
    kinds = [(dialect, is_streamed) for dialect in DIALECTS for is_streamed in (False, True)]
    for number in range(CUTS):
        dialect, is_streamed = random.choice(kinds)
        size = await usual_bytes(site, hop, direction, dialect, is_streamed)
        offset = offset_in(size, number, random)
        await cut_once(site, hop, direction, offset, dialect, is_streamed)


async def usual_bytes(
    site: Site, hop: str, direction: Direction, dialect: str, is_streamed: bool
) -> int:
    """Return what a second turn sends along a hop; it is tried once."""
    kind = (hop, direction, dialect, is_streamed)
    if kind not in site.usual:
        talk = site.conversation(hop, dialect)
        turns = steps(site.album, kind, is_streamed=is_streamed)
        await talk.take(next(turns))
        before: int = getattr(site.chain.hops[hop], direction)
        await talk.take(next(turns))
        talk.close()
        site.usual[kind] = getattr(site.chain.hops[hop], direction) - before
    return site.usual[kind]


async def cut_once(
    site: Site, hop: str, direction: Direction, offset: int, dialect: str, is_streamed: bool
) -> None:
    """Talk for three turns, with a cut in the second; every third SDK may resend what it will."""
    site.number += 1
    retries = 2 if site.number % 3 == 0 else 0
    case = f"{hop} {direction} {offset} {dialect} {'stream' if is_streamed else 'whole'}"
    begun = len(site.chain.provider.seen)
    talk = site.conversation(hop, dialect, retries)
    turns = steps(site.album, site.number, is_streamed=is_streamed)
    told, expected = await talk.take(next(turns))
    assert told == expected, case
    cut = site.chain.hops[hop].cut_after(direction, offset, is_reset=site.number % 2 == 0)
    step = next(turns)
    told, expected = await talk.take(step, is_patient=False)
    is_cut, cut.is_done = cut.is_done, True
    site.outcomes[outcome(told, expected, is_cut, case)] += 1
    assert site.chain.provider.seen[begun:].count(talk.meant[1]) <= 1 + retries, case
    if told.raised:
        assert await talk.again(step) == expected, case
    told, expected = await talk.take(next(turns))
    assert told == expected, case
    got = Counter(site.chain.provider.seen[begun:])
    assert set(got) == set(talk.meant), case
    assert got[talk.meant[0]] == got[talk.meant[2]] == 1, case
    talk.close()


def outcome(told: Told, expected: Told, is_cut: bool, case: str) -> str:
    """Name what the application got, which must be honest."""
    if told == expected:
        return "right, cut" if is_cut else "right, not come to"
    assert is_cut, (case, told)
    assert told.raised, (case, told, expected)
    status = told.raised[-1]
    if status == "200":  # Anthropic's SDK raises an event that says so with the stream's own status
        assert "upstream_cut" in told.words, (case, told)
        return "error in the stream"
    if status.isdigit():
        assert int(status) >= 500, (case, told)
        return status
    assert HONEST & set(told.raised), (case, told)
    return told.raised[0]
