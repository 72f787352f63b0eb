"""What `deploy/dify` holds is right by its schema, and speaks of what there is."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from coatcheck.cli.settings_sources import load_settings

from .test_deploy import DEPLOY, assert_parses, lint, read, tool

FILES = ("dify/docker-compose.override.yaml", "dify/docker-compose.edge.yaml")
THEIRS = {"api", "worker"}
"""Services of Dify's own compose file, of which these files change the environment alone."""


def services(name: str) -> Mapping[str, Any]:
    """Return the services of a file that are ours."""
    found: Mapping[str, Any] = read(name)["services"]
    return {service: found[service] for service in found.keys() - THEIRS}


@pytest.mark.parametrize("name", FILES)
def test_the_compose_files_follow_their_specification(name: str) -> None:
    schema = ("--builtin-schema", "vendor.compose-spec")
    lint(tool("check-jsonschema", "(pip) check-jsonschema"), *schema, DEPLOY / name)


@pytest.mark.parametrize("name", FILES)
def test_our_services_may_do_little_and_start_what_exists(name: str) -> None:
    for service in services(name).values():
        assert service["image"] == "coatcheck"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert "privileged" not in service
        assert_parses(service["command"])


@pytest.mark.parametrize("name", FILES)
def test_of_difys_services_only_the_environment_changes(name: str) -> None:
    found = read(name)["services"]
    for service in THEIRS:
        assert found[service].keys() == {"environment"}
        assert found[service]["environment"].keys() <= {"PLUGIN_DAEMON_URL", "PLUGIN_DAEMON_KEY"}


def test_each_edge_listens_on_the_loopback_of_whom_it_serves() -> None:
    for name, service in services(FILES[1]).items():
        owner = service["network_mode"].removeprefix("service:")
        assert name == f"coatcheck-edge-{owner}"
        assert service["depends_on"][owner]["restart"] is True
        command = service["command"]
        assert command[command.index("--host") + 1] == "127.0.0.1"
    edges = read(FILES[1])["services"]
    port = services(FILES[1])["coatcheck-edge-api"]["environment"]["COATCHECK_PORT"]
    assert edges["api"]["environment"]["PLUGIN_DAEMON_URL"] == f"http://127.0.0.1:{port}"


def test_the_settings_name_variables_that_the_service_has() -> None:
    settings = load_settings(DEPLOY / "dify/coatcheck.toml", {})
    (upstream,) = settings.upstream
    assert (upstream.dialect, upstream.mode) == ("dify.llm", "observe")
    given = services(FILES[0])["coatcheck"]["environment"]
    assert upstream.api_key_env in given
    config = settings.daemon_config(dict.fromkeys(given, "plugin-daemon-key")).upstreams[0]
    assert config.credential == ("X-Api-Key", "plugin-daemon-key")


def test_what_the_settings_propose_can_be_read(tmp_path: Path) -> None:
    text = (DEPLOY / "dify/coatcheck.toml").read_text("utf-8")
    changed = tmp_path / "coatcheck.toml"
    changed.write_text(text.replace('"observe"\n', '"on"\n').replace("# reuse", "reuse"), "utf-8")
    (upstream,) = load_settings(changed, {}).upstream
    assert (upstream.mode, upstream.reuse) == ("on", "ref")


@pytest.mark.parametrize("name", FILES)
def test_who_runs_a_service_is_given_its_secrets(name: str) -> None:
    page = (DEPLOY.parent / "docs/dify.md").read_text("utf-8")
    files = {secret: kept["file"] for secret, kept in read(name)["secrets"].items()}
    for service in services(name).values():
        owner = service.get("user", "10001").partition(":")[0]  # without capabilities, root too
        for secret in service.get("secrets", ()):
            assert f"chown {owner} {files[secret].removeprefix('./')}" in page


def test_the_commands_of_the_page_exist_and_its_files_too() -> None:
    page = (DEPLOY.parent / "docs/dify.md").read_text("utf-8")
    blocks = "".join(re.findall(r"```sh\n(.*?)```", page, re.DOTALL))
    lines = [line.partition("#")[0].partition(">")[0] for line in blocks.splitlines()]
    found = [
        line.partition(" coatcheck ")[2] or line.partition(" coatcheck-hook ")[2]
        for line in lines
        if " compose run " in line
    ]
    assert len(found) == 3
    for command in found:
        name, part, *arguments = shlex.split(command)
        assert_parses([name, part, *arguments])
    for path in re.findall(r"(?<![\w/])deploy/\S+\.(?:toml|yaml)", page):
        assert (DEPLOY.parent / path).is_file()
