"""The harness with the newest SDK, and with graphon as the client."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ...clients.environments import DIFY, DIFY_OLD, GRAPHON_OLD, Environment
from ..conftest import skip_without
from ..contract import CHUNKS, HarnessContract
from ..model_server import words
from ..prompt import picture
from ..slim import Told, run_graphon
from ..stand import Stand

pytestmark = pytest.mark.system


class TestNewestSdk(HarnessContract):
    environment = DIFY


@pytest.mark.parametrize("graphon", [GRAPHON_OLD, DIFY], ids=lambda which: which.name)
def test_graphon_sends_an_image_or_its_url_and_reads_the_answer(
    graphon: Environment, stands: Callable[[Environment], Stand], tmp_path: Path
) -> None:
    skip_without(graphon)
    stand, shown = stands(DIFY_OLD), picture(500_000)
    inline, named = tmp_path / "inline.jpg", tmp_path / "named.jpg"
    inline.write_bytes(shown.data)
    named.write_bytes(b"never read")
    ref = f"blob:sha256:{shown.sha256}"
    turns = [[Told("user", "What is it?", (path,))] for path in (inline, named)]
    sent, referred = run_graphon(graphon, stand, tmp_path, turns, refs={named: ref}, counts=True)
    for facts in (sent, referred):
        assert facts.error is None
        assert (facts.chunks, facts.prompt_messages) == (CHUNKS + 1, 0)
        assert facts.text == "".join(words("What is it?", CHUNKS))
        assert (facts.usage, facts.tokens) == (3 + 85 + CHUNKS, 3 + 1 + 3 + 3)
    assert (sent.files_read, sent.request_bytes > len(shown.data) * 4 // 3) == (1, True)
    assert (referred.files_read, referred.request_bytes < 1000) == (0, True)
    first, second = (asked.parts[0] for asked in stand.asked)
    assert (first.sha256, second.url) == (shown.sha256, ref)
