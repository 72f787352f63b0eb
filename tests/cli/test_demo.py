import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from coatcheck.cli.demo import demo
from coatcheck.cli.errors import DemoError
from coatcheck.cli.photograph import photograph


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--uplink", "fast"], "for example 20mbit"),
        (["--rtt", "40"], "for example 40ms"),
        (["--body-limit", "1tb"], "for example 1m"),
        (["--turns", "0"], "--turns"),
        (["--image", "no-such-file.jpg"], "does not exist"),
    ],
)
def test_a_wrong_option_is_explained(arguments: list[str], complaint: str) -> None:
    result = CliRunner().invoke(demo, arguments)
    assert result.exit_code == 2
    assert complaint in result.output


def test_a_file_that_is_no_image_is_refused_before_anything_starts(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a picture")
    result = CliRunner().invoke(demo, ["--image", str(path)])
    assert isinstance(result.exception, DemoError)
    assert "notes.txt is no image" in str(result.exception)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_interrupted_leaves_nothing_behind(tmp_path: Path, number: int) -> None:
    image = tmp_path / "small.jpg"
    image.write_bytes(photograph(1, 20_000))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "coatcheck.cli", "demo", "--image", str(image), "--turns", "1000"],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as demonstration:
        assert demonstration.stderr is not None
        while "turn 1 of" not in (line := demonstration.stderr.readline()):
            assert line, "it ended before its first turn"
        demonstration.send_signal(number)
        rest, complaint = demonstration.communicate()
    assert demonstration.returncode == 130
    assert "Traceback" not in rest + complaint
    assert not list(temporary.iterdir())
