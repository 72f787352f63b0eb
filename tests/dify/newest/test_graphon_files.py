"""Coatcheck's file runtime in graphon 0.7 and 0.8: what of a file is a ref, and what is not."""

import json
import os
import random
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio
from pydantic import BaseModel

import coatcheck
from coatcheck.protocol import Digest

from ...clients.environments import COATCHECK, DIFY, GRAPHON_OLD, Environment, require
from ...clients.processes import free_port, running, surroundings
from ..conftest import skip_without

pytestmark = pytest.mark.system

_PROGRAM = Path(__file__).parents[1] / "programs/graphon_files.py"
_SIZES = {"a.png": 2_600_000, "b.pdf": 900, "c.mp3": 901, "d.mp4": 902, "e.png": 903}
_DATA = {name: random.Random(name).randbytes(size) for name, size in _SIZES.items()}
_SIGNED = "https://files.example/files/a.png/file-preview?sign=1"


class AtOnce(BaseModel):
    answers: list[tuple[str, str]]
    reads: list[str]


class Said(BaseModel):
    """What the program prints."""

    plain_bytes: int
    ref_bytes: list[int]
    reads: list[str]
    contents: list[dict[str, str]]
    elsewhere: dict[str, str]
    remote: str
    again: list[bool]
    reads_again: list[str]
    is_there_again: bool
    delegated: bool
    at_once: AtOnce
    without_a_store: list[bool]
    is_unmarked: bool


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[str]:
    """A store in a process of its own."""
    folder, port = tmp_path_factory.mktemp("store"), free_port()
    command = (sys.executable, "-m", "coatcheck.cli", "serve", "--port", str(port))
    async with running((*command, "--data", str(folder / "data")), port, folder) as url:
        yield url


@pytest.mark.parametrize("graphon", [GRAPHON_OLD, DIFY], ids=lambda which: which.name)
def test_prompts_alone_get_refs(graphon: Environment, store: str, tmp_path: Path) -> None:
    skip_without(graphon)
    for name, data in _DATA.items():
        (tmp_path / name).write_bytes(data)
    said = _run(graphon, {"store": store, "folder": str(tmp_path)})
    refs = {name: f"blob:{Digest.of(data)}" for name, data in _DATA.items()}

    assert said.plain_bytes > 3_400_000
    assert max(said.ref_bytes) < 1000
    assert said.reads == ["a.png"]
    shown = [(item["type"], item["base64_data"], item["url"]) for item in said.contents]
    kinds = ["image", "document", "audio", "video", "image"]
    assert shown == [(kind, "", ref) for kind, ref in zip(kinds, refs.values(), strict=True)]
    assert [item["mime_type"] for item in said.contents][1:3] == ["application/pdf", "audio/mpeg"]

    assert said.elsewhere == {
        "plugin_parameter": "https://api/files/a.png/file-preview?sign=1",
        "markdown": f"![a.png]({_SIGNED})",
        **dict.fromkeys(("to_dict", "attribute", "generate_url"), _SIGNED),
    }
    assert said.remote == "https://example.org/coat.png"
    assert said.delegated

    assert said.again == [True, True]
    assert said.reads_again == ["a.png"]
    assert said.is_there_again
    signed = f"![e.png]({_SIGNED.replace('a.png', 'e.png')})"
    assert said.at_once == AtOnce(answers=[(refs["e.png"], signed)], reads=["e.png"])
    assert said.without_a_store == [True] * 4
    assert said.is_unmarked


def _run(graphon: Environment, wanted: dict[str, str]) -> Said:
    (beside,) = require(COATCHECK).folder.glob("lib/python*/site-packages")
    ours = Path(coatcheck.__file__).parents[1]
    ran = subprocess.run(
        [require(graphon).python, _PROGRAM],
        input=json.dumps(wanted | {"away": f"http://127.0.0.1:{free_port()}"}) + "\n",
        env=surroundings(PYTHONPATH=os.pathsep.join(map(str, (ours, beside)))),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("files go without refs") == 2
    return Said.model_validate_json(ran.stdout)
