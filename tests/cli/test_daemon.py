"""What `daemon` refuses before it makes anything."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from coatcheck.cli.main import coatcheck


@pytest.mark.parametrize("more", [[], ["--workers", "1"]])
def test_without_a_key_other_hosts_are_refused_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COATCHECK_KEY", raising=False)
    asked = ["daemon", "--host", "0.0.0.0", "--port", "0", "--store", "http://127.0.0.1:1", *more]
    result = CliRunner().invoke(coatcheck, asked)
    assert result.exit_code != 0
    assert "loopback" in str(result.exception)
    assert os.listdir(tmp_path) == []
