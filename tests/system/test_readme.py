"""The README's example runs, as it is written, against a real server."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system
README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_running_example_runs(serve: Fixture, tmp_path: Path) -> None:
    url = serve().url
    Image.new("RGB", (45, 30), "teal").save(tmp_path / "cat.png")
    blocks = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    program = "\n".join(blocks).replace("http://127.0.0.1:8420", url) + "\nprint(answer.text)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("PNG 45x30, mean colour #008080") == 2
    assert "And its colour?" in done.stdout


def test_the_upstream_example_is_read(serve: Fixture) -> None:
    (settings,) = re.findall(r"```toml\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    assert serve(settings).stop() == 0
