"""The loop with the newest SDK, and with graphon as the client."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ...clients.environments import DIFY, GRAPHON_OLD, Environment
from ..conftest import skip_without
from ..loop_contract import CHUNKS, MAX_REF_REQUEST_BYTES, QUESTION, EdgeContract, InFrontContract
from ..loop_hook import LoopHookContract
from ..middle import Front
from ..model_server import words
from ..prompt import picture
from ..slim import Told, run_graphon

pytestmark = pytest.mark.system


class TestNewestSdkBehindUs(InFrontContract):
    environment = DIFY


class TestNewestSdkBehindAnEdge(EdgeContract):
    environment = DIFY


class TestNewestSdkWithTheHook(LoopHookContract):
    environment = DIFY


@pytest.mark.parametrize("graphon", [GRAPHON_OLD, DIFY], ids=lambda which: which.name)
def test_graphon_asks_through_us(
    graphon: Environment, fronts: Callable[[Environment], Front], tmp_path: Path
) -> None:
    skip_without(graphon)
    front = fronts(DIFY)
    stand, shown = front.stand, picture(2_600_000)
    inline, named = tmp_path / "inline.jpg", tmp_path / "named.jpg"
    inline.write_bytes(shown.data)
    named.write_bytes(b"never read")
    (ref,) = front.put(shown)
    turns = [[Told("user", QUESTION, (path,))] for path in (inline, named)]
    answers = run_graphon(
        graphon, stand, tmp_path, turns, daemon_url=front.url, refs={named: ref}, counts=True
    )
    for facts in answers:
        assert facts.error is None
        assert (facts.chunks, facts.prompt_messages) == (CHUNKS + 1, 0)
        assert facts.text == "".join(words(QUESTION, CHUNKS))
        assert (facts.usage, facts.tokens) == (3 + 85 + CHUNKS, 3 + 1 + 3 + 3)
    assert [facts.files_read for facts in answers] == [1, 0]
    whole = len(shown.data) * 4 // 3
    assert answers[0].request_bytes > whole
    assert answers[1].request_bytes < MAX_REF_REQUEST_BYTES
    assert [[part.sha256 for part in asked.parts] for asked in stand.asked] == [[shown.sha256]] * 2
    paths = [received.path.rpartition("/")[2] for received in stand.received]
    assert paths == ["num_tokens", "invoke"] * 2
    assert min(received.size for received in stand.received) > whole
