"""The blocking client under gevent, which replaces sockets, locks and threads."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

PROGRAM = Path(__file__).with_name("under_gevent.py")


def test_two_greenlets_put_and_chat_at_once(serve: Fixture) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", PROGRAM, serve().url],
        capture_output=True,
        timeout=50,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    first, second = json.loads(ran.stdout)
    assert "PNG 300x200" in first["said"]
    assert "PNG 400x200" in second["said"]
    assert first["digest"] in first["said"]
    assert second["digest"] in second["said"]
