"""docs/operate.md speaks of what there is: commands, flags, settings, metrics, files."""

import re
from collections.abc import Iterator
from pathlib import Path

import click

from coatcheck.cli.main import coatcheck
from coatcheck.cli.settings import Settings
from coatcheck.cli.upstream_settings import TimeoutSettings, UpstreamSettings

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/operate.md").read_text("utf-8")
SPANS = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL))
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)


def commands() -> Iterator[list[str]]:
    """Yield every command line of ours, by its words."""
    lines = [*SPANS, *(line for block in BLOCKS for line in block.splitlines())]
    for words in (line.split() for line in lines):
        if len(words) > 1 and words[0] == "coatcheck":
            yield words[1:]


def test_commands_and_their_flags_exist() -> None:
    seen = 0
    for words in commands():
        command: click.Command = coatcheck
        rest = list(words)
        while isinstance(command, click.Group) and rest:
            found = command.get_command(click.Context(command), rest.pop(0))
            assert found is not None, words
            command = found
        known = {name for item in command.params for name in item.opts}
        assert {word for word in rest if word.startswith("--")} <= known, words
        seen += 1
    assert seen > 10


def test_settings_exist() -> None:
    known = {
        name
        for model in (Settings, UpstreamSettings, TimeoutSettings)
        for name in model.model_fields
    }
    shaped = re.compile(r"(?:max|min)_[a-z_]+|[a-z_]+_(?:seconds|bytes|urls|level|env|file)")
    named = {span.partition(" ")[0] for span in SPANS if shaped.fullmatch(span.partition(" ")[0])}
    # nginx's own, which stands there with its value.
    assert named - {"client_max_body_size"} <= known
    assert {"lease_seconds", "min_free_bytes", "api_key_env"} <= named


def test_metrics_exist() -> None:
    documented = (ROOT / "docs/metrics.md").read_text("utf-8")
    named = re.findall(r"coatcheck_[a-z_]+", PAGE)
    assert named
    assert not [name for name in named if f"| `{name}` |" not in documented]


def test_files_named_in_commands_exist() -> None:
    named = {path for block in BLOCKS for path in re.findall(r"\bdeploy/\S+", block)}
    assert named
    assert not [path for path in named if not (ROOT / path).is_file()]


def test_every_shape_is_told() -> None:
    for name in ("serve", "api", "daemon"):
        assert any(words[0] == name for words in commands()), name
