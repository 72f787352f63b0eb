"""Where a daemon's key comes from, and what is said when it is none."""

from pathlib import Path

import pytest

from coatcheck.cli.daemon_key import daemon_key
from coatcheck.cli.errors import SettingsError
from coatcheck.cli.settings_flags import DAEMON_PORT
from coatcheck.cli.settings_sources import load_settings

KEY = "cck_aaaaaaaa_" + "b" * 40


def test_a_file_wins_over_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n", "utf-8")
    other = "cck_cccccccc_" + "d" * 40
    assert daemon_key(path, {"COATCHECK_KEY": other}) == KEY
    assert daemon_key(None, {"COATCHECK_KEY": f" {other} "}) == other
    assert daemon_key(None, {}) is None
    assert daemon_key(None, {"COATCHECK_KEY": ""}) is None


@pytest.mark.parametrize("text", ["", "cck_secret", "sk-other", KEY + "x"])
def test_what_is_no_key_is_refused_and_not_repeated(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key"
    path.write_text(text, "utf-8")
    with pytest.raises(SettingsError) as caught:
        daemon_key(path, {})
    assert not text or text not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nowhere"):
        daemon_key(tmp_path / "nowhere", {"COATCHECK_KEY": KEY})


def test_a_command_has_defaults_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COATCHECK_PORT", raising=False)
    defaults = {"port": DAEMON_PORT}
    assert load_settings(None, {}, defaults).port == 8421
    assert load_settings(None, {"port": 1}, defaults).port == 1
    monkeypatch.setenv("COATCHECK_PORT", "2")
    assert load_settings(None, {}, defaults).port == 2
    monkeypatch.delenv("COATCHECK_PORT")
    (tmp_path / "coatcheck.toml").write_text("port = 3\nstore = 'http://store:8420'", "utf-8")
    assert load_settings(None, {}, defaults).port == 3
    settings = load_settings(None, {}).remote_config({"COATCHECK_KEY": KEY})
    assert (settings.store_url, settings.key) == ("http://store:8420", KEY)
    assert KEY not in repr(settings)
