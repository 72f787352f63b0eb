"""Wrapped clients and transports in the environments of old SDKs and of new ones."""

import base64
import json
import site
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.clients.environments import HERE, OLD, Environment, require
from tests.clients.processes import surroundings

import coatcheck

from .wrapped import picture

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

PROGRAM = Path(__file__).parents[1] / "clients/programs/wrapped.py"
PATHS = [str(Path(coatcheck.__file__).parents[1]), *site.getsitepackages()]
"""Where the package is, and what it needs: behind what the environment has itself."""


@pytest.mark.parametrize(("environment", "library"), [(HERE, "httpx2"), (OLD, "httpx")])
def test_every_generation_is_told_the_same(
    serve: Fixture, environment: Environment, library: str
) -> None:
    image = picture(7)
    plan = {"url": serve().url, "paths": PATHS, "image": base64.b64encode(image).decode()}
    python = sys.executable if environment is HERE else require(environment).python
    done = subprocess.run(
        [python, "-W", "error", PROGRAM],
        input=json.dumps(plan),
        env=surroundings(),
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert not done.stderr
    assert not done.returncode
    result = json.loads(done.stdout)
    assert result["libraries"] == [library, library]
    for name, (expected, *others) in result["told"].items():
        assert others == [expected] * len(others), name
        assert all("PNG" in text for text in expected)
    sent_to = result["paths"]
    assert sum(path.startswith("/v1/blobs/") for path in sent_to) >= 4
    assert {"/v1/chat/completions", "/v1/responses", "/v1/messages"} < set(sent_to)
