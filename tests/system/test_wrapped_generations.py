"""Wrapped clients and transports of old SDKs, in an environment of their own."""

import base64
import json
import site
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.clients.environments import OLD, require
from tests.clients.processes import surroundings

import coatcheck

from .wrapped import picture

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

PROGRAM = Path(__file__).parents[1] / "clients/programs/wrapped.py"
PATHS = [str(Path(coatcheck.__file__).parents[1]), *site.getsitepackages()]
"""Where the package is, and what it needs: behind what the environment has itself."""


def test_the_old_generation_is_told_the_same(serve: Fixture) -> None:
    image = picture(7)
    plan = {"url": serve().url, "paths": PATHS, "image": base64.b64encode(image).decode()}
    done = subprocess.run(
        [require(OLD).python, "-W", "error", PROGRAM],
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
    assert result["libraries"] == ["httpx", "httpx"]
    for name, (expected, *others) in result["told"].items():
        assert others == [expected] * len(others), name
        assert all("PNG" in text for text in expected)
    sent_to = result["paths"]
    assert sum(path.startswith("/v1/blobs/") for path in sent_to) >= 4
    assert {"/v1/chat/completions", "/v1/responses", "/v1/messages"} < set(sent_to)
