from pathlib import Path

import pytest
from click.testing import CliRunner

from coatcheck.cli.demo import demo
from coatcheck.cli.errors import DemoError


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
