"""`coatcheck report` prints what a file of observations says."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from coatcheck.cli.errors import NotFoundError, ReportError, UsageError
from coatcheck.cli.report import report
from coatcheck.daemon import Observer, RecordingObserver, UpstreamConfig
from coatcheck.daemon.account import Account, Subject
from coatcheck.daemon.observed_turn import ReadLimits
from coatcheck.protocol import Json, encode_json

HOUR = 3600.0
Run = Callable[..., Result]


def _tell(
    observing: Observer, tenant: str, upstream: str, age: float, words: int, broken: bool = False
) -> None:
    said: list[Json] = [{"role": "user", "content": f"{at} " * words} for at in range(3)]
    if broken:
        said[0] = {"role": "system", "content": "other"}
        said.append({"role": "user", "content": "more"})
    subject = Subject(tenant, "/v1/chat/completions", "openai.chat", None, time.time() - age)
    account = Account(subject, UpstreamConfig(upstream, mode="observe"), observing, ReadLimits())
    account.take(encode_json({"model": "m", "messages": said}))
    account.end()
    account.give(bytes(100))
    account.close()


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A data folder in which two tenants were seen at two upstreams."""
    observing = await RecordingObserver.open(tmp_path / "observations.db")
    for _ in range(2):
        _tell(observing, "blue", "vision", 0, 400_000)
    _tell(observing, "blue", "vision", 0, 400_000, broken=True)
    _tell(observing, "red", "vision", 0, 10)
    _tell(observing, "red", "text", 100 * HOUR, 5)
    await observing.close()
    return tmp_path


@pytest.fixture
def run() -> Run:
    def call(*args: object) -> Result:
        return CliRunner().invoke(report, [str(arg) for arg in args])

    return call


def _document(result: Result) -> Any:
    assert result.exception is None, result.output
    return json.loads(result.stdout)


def test_the_table_names_who_sent_what(folder: Path, run: Run) -> None:
    result = run("--data", folder)
    assert result.exception is None
    lines = result.stdout.splitlines()
    assert lines[2].split()[:4] == ["upstream", "tenant", "requests", "up"]
    first = next(line for line in lines if line.startswith("vision"))
    assert first.split()[:5] == ["vision", "blue", "3", "6.4", "MB"]
    assert "0 system: 1" in result.stdout  # a prefix broke at message 0
    assert any(line.startswith("all") for line in lines)


def test_json_has_every_figure(folder: Path, run: Run) -> None:
    document = _document(run("--data", folder, "--json"))
    assert document["by"] == ["upstream", "tenant"]
    assert [(row["upstream"], row["tenant"]) for row in document["rows"]] == [
        ("vision", "blue"),
        ("vision", "red"),
        ("text", "red"),
    ]
    blue = document["rows"][0]
    assert blue["requests"] == blue["turns"] == 3
    assert blue["over_1_mb"] == 3
    assert blue["breaks"] == 1
    assert blue["broke_at"] == {"0": 1}
    assert blue["broke_in"] == {"system": 1}
    assert (blue["conversations"], blue["broken_conversations"]) == (1, 1)
    assert blue["lost_bytes"] > 1_000_000
    assert (blue["prompt_tokens"], blue["cached_tokens"]) == (0, 0)
    assert blue["saved_bytes"] == blue["bytes_up"] - blue["on_bytes"] > 2_000_000
    assert document["total"]["requests"] == 5


def test_groups_are_chosen(folder: Path, run: Run) -> None:
    document = _document(run("--data", folder, "--by", "tenant", "--json"))
    assert {row["tenant"]: row["requests"] for row in document["rows"]} == {"blue": 3, "red": 2}
    document = _document(run("--data", folder, "--by", "mode,upstream", "--json"))
    assert document["by"] == ["upstream", "mode"]


def test_the_time_is_chosen(folder: Path, run: Run) -> None:
    document = _document(run("--data", folder, "--since", "12h", "--json"))
    assert document["total"]["requests"] == 4
    document = _document(run("--data", folder, "--until", "48h", "--json"))
    assert document["total"]["requests"] == 1
    document = _document(run("--data", folder, "--since", "2020-01-01", "--json"))
    assert document["total"]["requests"] == 5
    assert document["since"] == 1577836800


def test_a_time_without_requests_is_said_to_have_none(folder: Path, run: Run) -> None:
    result = run("--data", folder, "--since", "90d", "--until", "30d")
    assert result.exception is None
    assert "nothing was observed" in result.stderr


def test_a_cache_folder_is_read_too(folder: Path, run: Run) -> None:
    assert _document(run("--cache", folder, "--json"))["total"]["requests"] == 5


@pytest.mark.parametrize("setting", ["data", "cache"])
def test_settings_name_the_folder(setting: str, folder: Path, run: Run) -> None:
    config = folder / "settings.toml"
    folders = {"data": "nowhere", "cache": "nowhere"} | {setting: str(folder)}
    config.write_text("".join(f'{name} = "{at}"\n' for name, at in folders.items()), "utf-8")
    assert _document(run("--config", config, "--json"))["total"]["requests"] == 5


def test_no_file_is_said_clearly(tmp_path: Path, run: Run) -> None:
    error = run("--data", tmp_path).exception
    assert isinstance(error, NotFoundError)
    assert "nothing was observed there" in str(error)


def test_a_file_that_is_none_of_ours_is_said_clearly(tmp_path: Path, run: Run) -> None:
    (tmp_path / "observations.db").write_bytes(b"something" * 1000)
    assert isinstance(run("--data", tmp_path).exception, ReportError)


@pytest.mark.parametrize(
    "args",
    [
        ("--since", "soon"),
        ("--since", "1h", "--until", "2h"),
        ("--by", "weather"),
        ("--by", ""),
        ("--data", ".", "--cache", "."),
    ],
)
def test_a_wrong_command_line_is_refused(args: tuple[str, ...], folder: Path, run: Run) -> None:
    given = args if "--data" in args else ("--data", folder, *args)
    assert isinstance(run(*given).exception, UsageError)
