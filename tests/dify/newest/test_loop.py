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
@pytest.mark.parametrize("form", ["base64", "ref"])
def test_graphon_asks_through_us(
    graphon: Environment, form: str, fronts: Callable[[Environment], Front], tmp_path: Path
) -> None:
    skip_without(graphon)
    front = fronts(DIFY)
    stand, shown = front.stand, picture(2_600_000)
    path = tmp_path / shown.name
    path.write_bytes(shown.data)
    (ref,) = front.put(shown)
    (facts,) = run_graphon(
        graphon,
        stand,
        tmp_path,
        [[Told("user", QUESTION, (path,))]],
        daemon_url=front.url,
        refs={path: ref} if form == "ref" else None,
        counts=True,
    )
    assert facts.error is None
    assert (facts.chunks, facts.prompt_messages) == (CHUNKS + 1, 0)
    assert facts.text == "".join(words(QUESTION, CHUNKS))
    assert facts.usage == 3 + 85 + CHUNKS
    (asked,) = stand.asked
    assert [part.sha256 for part in asked.parts] == [shown.sha256]
    inline = len(shown.data) * 4 // 3
    assert (facts.request_bytes < MAX_REF_REQUEST_BYTES) == (form == "ref")
    assert facts.files_read == (form == "base64")
    assert [received.path.rpartition("/")[2] for received in stand.received] == [
        "num_tokens",
        "invoke",
    ]
    assert min(received.size for received in stand.received) > inline
