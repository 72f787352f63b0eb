"""The documents keep up with the code: every error code, setting, route and command is in them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from coatcheck import api, daemon, store, web
from coatcheck.cli.main import coatcheck
from coatcheck.cli.settings import Settings
from coatcheck.cli.upstream_settings import ImageSettings, TimeoutSettings, UpstreamSettings

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("protocol", "store", "web", "api", "daemon")
# Calls that make an answer, and which of their arguments is the code.
MAKERS = {"refuse": 1, "Problem": 1, "_Row": 2, "RequestRefusedError": 1, "_refused": 1} | {
    "TooLargeError": 1,
    "UnknownIdError": 1,
}


def _codes(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            value = node.value.value if isinstance(node.value, ast.Constant) else None
            if names == ["code"] and isinstance(value, str):
                yield value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            at = MAKERS.get(node.func.id)
            if at is not None and len(node.args) > at and isinstance(node.args[at], ast.Constant):
                yield str(node.args[at].value)  # type: ignore[attr-defined]  # pyright: ignore


def error_codes() -> set[str]:
    """Return every code that the source can put into an answer."""
    sources = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return {code for path in sources for code in _codes(ast.parse(path.read_text("utf-8")))}


def test_every_error_code_is_documented_and_no_other() -> None:
    text = (ROOT / "docs/errors.md").read_text("utf-8")
    documented = set(re.findall(r"^\| `([a-z0-9_]+)` \|", text, re.MULTILINE))
    assert documented == error_codes() | {"not_found"}  # the router's, made from its status


@pytest.mark.parametrize("model", [Settings, UpstreamSettings, TimeoutSettings, ImageSettings])
def test_every_setting_is_documented(model: type[Settings]) -> None:
    text = (ROOT / "docs/settings.md").read_text("utf-8")
    missing = [name for name in model.model_fields if f"`{name}`" not in text]
    assert not missing


def test_every_command_and_option_is_documented() -> None:
    text = (ROOT / "docs/commands.md").read_text("utf-8")
    context = click.Context(coatcheck)
    for name in coatcheck.list_commands(context):
        command = coatcheck.get_command(context, name)
        assert command is not None
        parts = command.commands if isinstance(command, click.Group) else {"": command}
        for part, called in parts.items():
            assert f"`coatcheck {name} {part}" in text, (name, part)
            for option in called.params:
                if isinstance(option, click.Option):
                    assert option.opts[-1] in text, (name, part, option.opts)


async def _routes() -> list[web.Route]:
    """Return the table that `serve` serves."""
    async with await store.Store.open(store.StoreConfig(data_folder=None)) as blobs:
        resolving = daemon.Daemon.open(
            daemon.DaemonConfig(), daemon.EmbeddedBlobs(blobs), daemon.EmbeddedPrompts(blobs)
        )
        faces = [api.face(blobs), resolving.face(), web.Metrics().face()]
        await resolving.close()
    return web.join_faces(faces, title="Coatcheck", version="1")


async def test_every_route_is_documented_and_no_other() -> None:
    text = (ROOT / "docs/protocol.md").read_text("utf-8").partition("\n## 8. ")[2]
    documented = set(re.findall(r"^\| `([A-Z]+ /[^`]*)` \|", text, re.MULTILINE))
    described = {
        f"{route.method} {route.path}" for route in await _routes() if route.operation is not None
    }
    assert documented == described - {"GET /openapi.json"} | {"GET /admin"}
    assert "`GET /openapi.json`" in text


def test_every_header_of_ours_is_documented() -> None:
    text = (ROOT / "docs/protocol.md").read_text("utf-8")
    sources = [path for folder in (*FOLDERS, "client") for path in (ROOT / folder).rglob("*.py")]
    names = {
        node.value
        for path in sources
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    headers = {name for name in names if re.fullmatch(r"Coatcheck(-[A-Z][a-z]+)+", name)}
    assert {"Coatcheck-Prompt", "Coatcheck-Media-Type"} <= headers
    assert not {name for name in headers if not re.search(rf"`{name}[`:]", text)}


def test_links_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
