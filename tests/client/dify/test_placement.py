"""Where the hook is placed, what is left alone, and that nothing stays of it."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from coatcheck.client import InvalidArgumentError, PluginEnvironmentError
from coatcheck.client.dify import HookConfig, place, take_away

from .environments import make_environment, tree_hash

KEY = f"cck_{'a' * 8}_{'k' * 40}"
CONFIG = HookConfig(socket=Path("/run/coatcheck"), key=KEY)
PLUGIN = "author/name-0.0.1@checksum"


def states(folder: Path, config: HookConfig = CONFIG) -> dict[str, str]:
    """Place the hook; return what became of each environment, by its path."""
    return {
        str(placed.environment.relative_to(folder)): placed.state
        for placed in place(folder, config)
    }


def site(environment: Path) -> Path:
    (found,) = environment.glob("lib/python3*/site-packages")
    return found


async def test_an_environment_is_afterwards_as_it_was(tmp_path: Path) -> None:
    environment = make_environment(tmp_path / "venv")
    await environment.ask([])  # so that all else is compiled
    before = tree_hash(tmp_path)
    assert states(tmp_path / "venv") == {".": "placed"}
    assert states(tmp_path / "venv") == {".": "unchanged"}
    folder = environment.packages / "coatcheck_dify_hook"
    await environment.ask([])
    assert list((folder / "__pycache__").iterdir())
    (folder / ".__init__.py.123").write_text("left by one that was killed")
    assert [gone.state for gone in take_away(tmp_path / "venv")] == ["removed"]
    assert [gone.state for gone in take_away(tmp_path / "venv")] == ["absent"]
    assert tree_hash(tmp_path) == before


def test_no_interpreter_starts_while_modules_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = make_environment(tmp_path / "venv").packages
    assert states(tmp_path / "venv") == {".": "placed"}
    module = packages / "coatcheck_dify_hook/splice.py"
    whole = module.read_bytes()
    module.write_text("of another version")
    had_line: dict[str, bool] = {}
    rename = os.rename

    def watched(old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        had_line[new] = (packages / "coatcheck_dify_hook.pth").exists()
        rename(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "rename", watched)
    assert states(tmp_path / "venv") == {".": "replaced"}
    assert had_line == {"splice.py": False, "coatcheck_dify_hook.pth": False}
    assert module.read_bytes() == whole
    assert states(tmp_path / "venv", HookConfig(socket=Path("/other"))) == {".": "replaced"}
    assert had_line["coatcheck_dify_hook.json"]  # a configuration is read whole at any time


def test_the_configuration_is_the_owners_alone(tmp_path: Path) -> None:
    environment = make_environment(tmp_path / "venv")
    assert states(tmp_path / "venv") == {".": "placed"}
    config = environment.packages / "coatcheck_dify_hook/coatcheck_dify_hook.json"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert KEY in config.read_text()
    assert KEY not in repr(CONFIG)
    config.chmod(0o644)
    assert states(tmp_path / "venv") == {".": "replaced"}
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert states(tmp_path / "venv", HookConfig(socket=Path("/other"))) == {".": "replaced"}
    assert KEY not in config.read_text()


def test_every_plugins_environment_is_found_and_one_made_anew(tmp_path: Path) -> None:
    for name in (PLUGIN, "author/other-1@a", "alone"):
        make_environment(tmp_path / name / ".venv")
    make_environment(tmp_path / ".uv-cache/a/.venv")
    (tmp_path / "author/starting/.venv").mkdir(parents=True)
    (tmp_path / "author/starting/.venv/pyvenv.cfg").touch()
    placed = {f"{PLUGIN}/.venv": "placed", "author/other-1@a/.venv": "placed"}
    others = {"alone/.venv": "placed", "author/starting/.venv": "waiting"}
    assert states(tmp_path) == placed | others
    assert states(tmp_path / PLUGIN) == {".venv": "unchanged"}
    shutil.rmtree(tmp_path / PLUGIN / ".venv")
    make_environment(tmp_path / PLUGIN / ".venv")
    assert states(tmp_path)[f"{PLUGIN}/.venv"] == "placed"
    assert {gone.state for gone in take_away(tmp_path)} == {"removed", "absent"}
    assert not list(tmp_path.rglob("coatcheck*"))


@pytest.mark.parametrize("link", [".venv", ".venv/lib", "site-packages"])
def test_links_lead_nowhere(tmp_path: Path, link: str) -> None:
    outside = make_environment(tmp_path / "outside")
    before = tree_hash(tmp_path / "outside")
    plugin = tmp_path / "cwd" / PLUGIN
    own = make_environment(plugin / ".venv")
    at = own.packages if link == "site-packages" else plugin / link
    to = {".venv": outside.folder, ".venv/lib": outside.folder / "lib"}.get(link, outside.packages)
    shutil.rmtree(at)
    at.symlink_to(to)
    assert set(states(tmp_path / "cwd").values()) <= {"waiting"}
    assert {gone.state for gone in take_away(tmp_path / "cwd")} <= {"absent"}
    assert tree_hash(tmp_path / "outside") == before


def test_links_in_the_hooks_own_places_are_replaced(tmp_path: Path) -> None:
    environment = make_environment(tmp_path / "venv")
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("kept")
    (environment.packages / "coatcheck_dify_hook").symlink_to(victim)
    (environment.packages / "coatcheck_dify_hook.pth").symlink_to(victim / "file")
    assert states(tmp_path / "venv") == {".": "replaced"}
    assert [path.name for path in victim.iterdir()] == ["file"]
    assert (victim / "file").read_text() == "kept"
    hook = environment.packages / "coatcheck_dify_hook"
    (hook / "__pycache__").symlink_to(victim)
    (hook / "__init__.py").unlink()
    (hook / "__init__.py").symlink_to(victim / "file")
    assert states(tmp_path / "venv") == {".": "replaced"}
    assert not (hook / "__init__.py").is_symlink()
    assert [gone.state for gone in take_away(tmp_path / "venv")] == ["removed"]
    assert (victim / "file").read_text() == "kept"


def test_one_that_fails_does_not_keep_the_others_from_it(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_environment(tmp_path / name / ".venv")
    (site(tmp_path / "a/.venv") / "coatcheck_dify_hook.pth").mkdir()
    first, second = place(tmp_path, CONFIG)
    assert (first.state, second.state) == ("failed", "placed")
    assert first.reason == os.strerror(21)


def test_what_is_no_environment_is_said(tmp_path: Path) -> None:
    (tmp_path / "a/b/c/d").mkdir(parents=True)
    (tmp_path / "file").touch()
    assert place(tmp_path, CONFIG) == []
    for name in ("none", "file"):
        with pytest.raises(PluginEnvironmentError, match=name):
            place(tmp_path / name, CONFIG)


def test_a_configuration_that_the_hook_would_not_take_is_not_placed() -> None:
    with pytest.raises(InvalidArgumentError, match="one of socket"):
        HookConfig(key=KEY)
    with pytest.raises(InvalidArgumentError, match="key is not what it has to be") as refused:
        HookConfig(socket=Path("/a"), key="two\nlines")
    assert "lines" not in str(refused.value)
