"""`dify install-hook` and `uninstall-hook`: what they print and refuse, and that watching goes on."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from coatcheck.cli.dify import dify
from coatcheck.cli.errors import NotFoundError, PlacementError, SettingsError, UsageError

KEY = f"cck_{'a' * 8}_{'k' * 40}"


def make(environment: Path) -> Path:
    """Make what looks like a virtual environment."""
    packages = environment / "lib/python3.12/site-packages"
    packages.mkdir(parents=True)
    (environment / "pyvenv.cfg").write_text("home = /usr/bin\n")
    return packages


def call(*args: object) -> Result:
    return CliRunner().invoke(dify, [str(arg) for arg in args])


def config_in(packages: Path) -> dict[str, object]:
    file = packages / "coatcheck_dify_hook/coatcheck_dify_hook.json"
    read: dict[str, object] = json.loads(file.read_text())
    return read


def test_it_says_what_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    packages = make(tmp_path / "venv")
    (tmp_path / "key").write_text(f"{KEY}\n")
    options = ("--socket", "s", "--key-file", "key", "--cache", "c", "--timeout", 5, "--no-splice")
    done = call("install-hook", "venv", *options)
    assert (done.exit_code, done.output) == (0, "placed     venv\n")
    assert config_in(packages) == {
        "socket": f"{tmp_path}/s",
        "key": KEY,
        "cache": f"{tmp_path}/c",
        "total_seconds": 5,
        "splice": False,
    }
    done = call("install-hook", "venv", "--daemon", "http://127.0.0.1:8421", "--json")
    assert json.loads(done.output) == [{"environment": "venv", "state": "replaced"}]
    assert config_in(packages) == {"daemon": "http://127.0.0.1:8421"}
    assert call("uninstall-hook", "venv").output == "removed    venv\n"
    assert json.loads(call("uninstall-hook", "venv", "--json").output)[0]["state"] == "absent"
    assert list(packages.iterdir()) == []


@pytest.mark.parametrize(
    "options", [(), ("--socket", "s", "--daemon", "http://a"), ("--daemon", "x")]
)
def test_a_source_of_bytes_has_to_be_named(tmp_path: Path, options: tuple[str, ...]) -> None:
    make(tmp_path / "venv")
    assert isinstance(call("install-hook", tmp_path / "venv", *options).exception, UsageError)


def test_what_is_no_environment_or_no_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret")
    absent = call("install-hook", tmp_path, "--socket", "s").exception
    assert isinstance(absent, NotFoundError)
    assert str(tmp_path) in str(absent)
    assert isinstance(call("uninstall-hook", tmp_path).exception, NotFoundError)
    make(tmp_path / "venv")
    refused = call(
        "install-hook", tmp_path / "venv", "--socket", "s", "--key-file", tmp_path / "key"
    )
    assert isinstance(refused.exception, SettingsError)
    assert "secret" not in str(refused.exception)


def test_one_that_fails_is_named_beside_those_that_do_not(tmp_path: Path) -> None:
    (make(tmp_path / "a/.venv") / "coatcheck_dify_hook.pth").mkdir()
    make(tmp_path / "b/.venv")
    done = call("install-hook", tmp_path, "--socket", "s")
    assert f"failed     {tmp_path}/a/.venv: Is a directory\nplaced     {tmp_path}/b" in done.output
    assert isinstance(done.exception, PlacementError)


@pytest.mark.system
def test_watching_places_it_in_what_comes_and_ends_when_asked(tmp_path: Path) -> None:
    make(tmp_path / "a/.venv")
    command = (sys.executable, "-m", "coatcheck.cli", "dify", "install-hook", tmp_path)
    watching = subprocess.Popen(
        [*command, "--socket", "s", "--watch", "--json"], stdout=subprocess.PIPE, text=True
    )
    assert watching.stdout
    with watching.stdout:
        try:
            assert json.loads(watching.stdout.readline())["state"] == "placed"
            packages = make(tmp_path / "b/.venv")
            told = json.loads(watching.stdout.readline())
            if told["state"] == "waiting":  # it looked while that was being made
                told = json.loads(watching.stdout.readline())
            assert told == {"environment": f"{tmp_path}/b/.venv", "state": "placed"}
            assert (packages / "coatcheck_dify_hook.pth").exists()
            watching.send_signal(signal.SIGTERM)
            assert watching.wait(20) == 0
            assert watching.stdout.read() == ""
        finally:
            watching.kill()
            watching.wait()
