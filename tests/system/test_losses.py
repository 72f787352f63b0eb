"""Between two turns something is killed, emptied or started anew: the next turn is answered as ever.

Real processes, ended as `kill -9` does.
"""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from bench.agent import DIALECTS, Chain, Role, chaining, providing

from .conversing import Album, Conversation, steps

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

NIGHTLY = bool(os.environ.get("COATCHECK_NIGHTLY"))
Loss = Callable[[Chain], Awaitable[None]]


LOSSES: dict[str, Loss] = {
    "daemon's cache gone": lambda chain: chain.services["daemon"].wipe("cache"),
    "store killed": lambda chain: chain.services["store"].restart(),
    "edge killed": lambda chain: chain.services["edge"].restart(),
}
MORE_LOSSES: dict[str, Loss] = {
    "daemon killed": lambda chain: chain.services["daemon"].restart(),
    "store emptied": lambda chain: chain.services["store"].wipe("data"),
}


@pytest.mark.parametrize("dialect", DIALECTS if NIGHTLY else DIALECTS[:1])
async def test_a_turn_after_a_loss_is_answered_as_ever(tmp_path: Path, dialect: str) -> None:
    album = Album(tmp_path)
    async with providing() as twins, chaining(tmp_path, "edge") as chain:
        talk = Conversation(Role(dialect, chain.url, tool_count=6), chain.provider, twins)
        turns = steps(album, dialect, is_streamed=True)
        told, expected = await talk.take(next(turns))
        assert told == expected
        for name, lose in (LOSSES | (MORE_LOSSES if NIGHTLY else {})).items():
            await lose(chain)
            for _ in range(2):
                told, expected = await talk.take(next(turns))
                assert told == expected, name
        talk.close()
        assert chain.provider.seen == talk.meant
