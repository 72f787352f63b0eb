"""`keys`: what is printed once, listed and refused."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from coatcheck import store
from coatcheck.cli.errors import KeyAccessError, NotFoundError, QuantityError, UsageError
from coatcheck.cli.keys import keys
from coatcheck.protocol import parse_key


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where keys are kept; no settings file is near."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def call(data: Path, *args: str) -> Result:
    return CliRunner().invoke(keys, [*args, "--data", str(data)])


def made(data: Path, *args: str) -> Any:
    result = call(data, "create", "--json", *args)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def listed(data: Path) -> Any:
    return json.loads(call(data, "list", "--json").stdout)


def verify(data: Path, text: str) -> store.KeyInfo | None:
    async def work() -> store.KeyInfo | None:
        async with store.open_keys(data) as opened:
            return await opened.verify(text)

    return asyncio.run(work())


def test_a_key_is_printed_once_and_alone(data: Path) -> None:
    result = call(data, "create", "--label", "laptop")
    key = parse_key(result.stdout.strip())
    assert key
    assert result.stdout.count("\n") == 1
    assert f"key {key.id}, tenant default, for read,write,gateway" in result.stderr
    assert key.secret not in result.stderr
    for shown in (call(data, "list"), call(data, "list", "--json"), call(data, "revoke", key.id)):
        assert key.id in shown.stdout
        assert key.secret not in shown.output
    info = verify(data, key.text)
    assert info is None  # it was revoked


def test_a_key_is_for_what_was_asked(data: Path) -> None:
    before = time.time()
    key = made(data, "--tenant", "acme", "--scope", "admin", "--scope", "read", "--expires", "90d")
    info = verify(data, key["key"])
    assert info is not None
    assert info.tenant == "acme"
    assert info.scopes == {"read", "admin"}
    assert key["expires_at"] - before == pytest.approx(90 * 86400, abs=60)
    daemons = made(data, "--daemon")
    assert (daemons["tenant"], daemons["scopes"]) == (None, ["read", "write", "gateway"])


def test_states_are_listed(data: Path) -> None:
    valid, ended, revoked = made(data), made(data, "--expires", "0.001ms"), made(data)
    assert call(data, "revoke", revoked["id"]).exit_code == 0
    assert {key["id"]: key["state"] for key in listed(data)} == {
        valid["id"]: "valid",
        ended["id"]: "expired",
        revoked["id"]: "revoked",
    }
    assert [line.split()[1] for line in call(data, "list").stdout.splitlines()] == [
        "STATE",
        *("valid", "expired", "revoked"),
    ]


def test_what_was_revoked_before_a_failure_is_printed(data: Path) -> None:
    key = made(data)
    result = call(data, "revoke", key["id"], "nothing", "--json")
    assert isinstance(result.exception, NotFoundError)
    assert [info["state"] for info in json.loads(result.stdout)] == ["revoked"]


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["create", "--tenant", "a b"], UsageError),
        (["create", "--tenant", "acme", "--daemon"], UsageError),
        (["create", "--expires", "0"], UsageError),
        (["create", "--expires", "soon"], QuantityError),
        (["list"], NotFoundError),
        (["revoke", "abcdefgh"], NotFoundError),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    data: Path, args: list[str], error: type[Exception]
) -> None:
    result = call(data, *args)
    assert isinstance(result.exception, error)
    assert not data.exists()


def test_a_folder_that_is_none_is_named(data: Path) -> None:
    data.write_text("a file")
    result = call(data, "create")
    assert isinstance(result.exception, KeyAccessError)
    assert str(data) in str(result.exception)


@pytest.mark.parametrize(
    "flags",
    [
        ("--expires", "99999999d"),
        ("--tenant", ""),
        ("--label", "two\nlines"),
        ("--label", "\x1b[31mred"),
        ("--label", "not text: \udcff"),
        ("--label", "x" * 201),
    ],
)
def test_what_could_not_be_listed_makes_no_key(data: Path, flags: tuple[str, str]) -> None:
    assert isinstance(call(data, "create", *flags).exception, UsageError)
    assert not data.exists()


def test_an_id_that_none_can_have_is_a_usage_error(data: Path) -> None:
    made(data)
    assert isinstance(call(data, "revoke", "\udcff").exception, UsageError)
