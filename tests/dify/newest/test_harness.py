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
def test_graphon_sends_an_image_and_reads_the_answer(
    graphon: Environment, stands: Callable[[Environment], Stand], tmp_path: Path
) -> None:
    skip_without(graphon)
    stand, shown = stands(DIFY_OLD), picture(500_000)
    path = tmp_path / shown.name
    path.write_bytes(shown.data)
    turns = [[Told("user", "What is it?", (path,))]] * 2
    for facts in run_graphon(graphon, stand, tmp_path, turns, counts=True):
        assert facts.error is None
        assert (facts.chunks, facts.files_read, facts.prompt_messages) == (CHUNKS + 1, 1, 0)
        assert facts.text == "".join(words("What is it?", CHUNKS))
        assert (facts.usage, facts.tokens) == (3 + 85 + CHUNKS, 3 + 1 + 3 + 3)
        assert facts.request_bytes > len(shown.data) * 4 // 3
    assert [asked.parts[0].sha256 for asked in stand.asked] == [shown.sha256] * 2


def test_graphon_sends_a_url_in_an_images_place(
    stands: Callable[[Environment], Stand], tmp_path: Path
) -> None:
    skip_without(DIFY)
    stand, path = stands(DIFY_OLD), tmp_path / "0.jpg"
    path.write_bytes(b"never read")
    turns = [[Told("user", "What is it?", (path,))]]
    (facts,) = run_graphon(DIFY, stand, tmp_path, turns, refs={path: "blob:sha256:" + "0" * 64})
    assert (facts.files_read, facts.request_bytes < 1000) == (0, True)
    assert stand.asked[0].parts[0].url == "blob:sha256:" + "0" * 64
