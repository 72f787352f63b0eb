"""The chat of Dify's bench in a small form: it is taken by every way, and what is counted is right."""

from pathlib import Path

import pytest
from bench.dify import BASE64, WAYS, Chat, Size, run_chats

from ..clients.environments import DIFY_OLD

pytestmark = pytest.mark.system
SIZE = Size(turns=2, images_a_turn=2, image_bytes=30_000)
SHORT = next(way for way in WAYS if way.has_edge and way.has_hook)


def test_the_same_chat_is_taken_by_each_way_and_counted(tmp_path: Path) -> None:
    said: list[str] = []
    base, short = run_chats(tmp_path, (BASE64, SHORT), SIZE, DIFY_OLD, said.append)
    assert said[-1].startswith("dify: turn 2 of 2")
    inline = SIZE.image_bytes * 4 // 3
    # The first turn's images go to the plugin again in the second, and once more for their tokens.
    assert base.crossed[0] > 2 * inline
    assert base.crossed[1] > 6 * inline
    assert base.at_daemon_bytes > 8 * inline < base.lines_bytes
    new = 2 * SIZE.image_bytes
    assert all(new < crossed < 2 * new for crossed in short.crossed)
    assert short.at_daemon_bytes < 200_000 > short.lines_bytes
    assert [each.text for each in base.facts] == [each.text for each in short.facts]
    assert_measured(base)
    assert_measured(short)
    assert len(short.ours_peak_bytes) == 2


def assert_measured(chat: Chat) -> None:
    """Pass when everything that has a figure has one."""
    assert len(chat.seconds) == SIZE.turns
    assert min(chat.api_seconds, chat.plugin_seconds, chat.stand_ins_seconds) > 0
    assert (chat.ours_seconds > 0) == (chat.way is not BASE64)
    assert chat.plugin_peak_bytes >= chat.plugin_idle_bytes > 10_000_000
    assert chat.one is not None
