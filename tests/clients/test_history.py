"""Conversations by `previous_response_id` with SDKs of another generation and language."""

import json
import shutil
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest

from ..daemon.responses_talk import FIELDS, TURNS, converse_whole
from ..daemon.strict_responses import strict_responses
from .environments import NODE, NODE_MODULES, OLD, Environment, require
from .processes import output_of, serving

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

_PROGRAMS = Path(__file__).with_name("programs") / "history"


@contextmanager
def command_of(environment: Environment) -> Generator[list[str]]:
    """Give the command of an environment's program; npm's find packages beside themselves."""
    folder = require(environment).folder
    if environment is not NODE_MODULES:
        yield [str(environment.python), str(_PROGRAMS / "openai_sdk.py")]
        return
    program = folder / f"history-{uuid.uuid4().hex}.mjs"
    shutil.copy(_PROGRAMS / "openai.mjs", program)
    try:
        yield [str(NODE), str(program)]
    finally:
        program.unlink()


async def said(command: list[str], plan: str) -> list[str]:
    """Run a program with a plan; return the lines that it prints."""
    out = await output_of(command, plan)
    return out.decode().split()


@pytest.mark.parametrize(
    ("environment", "stream"), [(OLD, True), (NODE_MODULES, False)], ids=["old", "node"]
)
async def test_an_upstream_gets_what_a_client_that_sends_everything_sends(
    environment: Environment, stream: bool, tmp_path: Path
) -> None:
    async with strict_responses() as provider, strict_responses() as direct:
        settings = (
            f'[[upstream]]\nname = "vision"\ndialect = "openai.responses"\n'
            f'base_url = "{provider.url}"\nhistory = "coatcheck"\n'
        )
        async with serving(tmp_path, settings) as url:
            plan = {"url": f"{url}/v1", "key": "none", "stream": stream}
            with command_of(environment) as command:
                ids = await said(command, json.dumps({**plan, "fields": FIELDS, "turns": TURNS}))
        async with openai.AsyncOpenAI(base_url=direct.url, api_key="none") as ai:
            expected = await converse_whole(ai, stream=stream)
        assert ids == [*(answer.id for answer in expected), "previous_response_not_found"]
        assert not provider.refused
        assert [json.loads(body) for body in provider.bodies] == [
            json.loads(body) for body in direct.bodies
        ]
