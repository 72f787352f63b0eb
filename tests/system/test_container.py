"""The image, as far as it can be tried without an engine.

The steps of its build run as the Dockerfile has them, on what `.dockerignore` lets through, and what
they install is run as the image would: by its user, with its environment, a read-only root, a /data of
its own and no capability. Without root there is no other user and no read-only root: then the rest.
"""

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from .conftest import clean_environment

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

ROOT = Path(__file__).resolve().parents[2]
IS_ROOT = os.geteuid() == 0

# Makes the root read-only in a name space of its own, where root may make one, and gives up what a
# container has not.
_CONFINE = """
if [ -z "$CONFINED" ] && unshare --mount true 2>/dev/null; then
    CONFINED=yes exec unshare --mount --propagation private sh -ec "$0" "$0" "$@"
fi
if [ -n "$CONFINED" ]; then
    mount --bind "$DATA" "$DATA"
    mount -o remount,bind,ro /
    mount -t tmpfs tmpfs /tmp
fi
exec setpriv --reuid "$USER_ID" --regid "$USER_ID" --clear-groups \
    --no-new-privs --bounding-set -all -- "$@"
"""


@dataclass(frozen=True)
class Image:
    """What the build made, and how the Dockerfile says that it runs."""

    folder: Path
    environment: dict[str, str]
    entrypoint: list[str]
    health: list[str]
    user_id: str

    @property
    def data(self) -> Path:
        """What stands for /data."""
        return self.folder / "data"

    def command(self, *arguments: str) -> list[str]:
        """Return what runs in place of `docker run IMAGE ARGUMENTS`."""
        program = self.folder / "opt/coatcheck/bin" / self.entrypoint[0]
        plain = [str(program), *self.entrypoint[1:], *arguments]
        if not IS_ROOT:
            return plain
        return ["sh", "-ec", _CONFINE, _CONFINE, *plain]

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run a command to its end."""
        return subprocess.run(
            self.command(*arguments),
            cwd=self.data,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def stages() -> list[dict[str, list[str]]]:
    """Return the Dockerfile's stages: instructions by name."""
    text = (ROOT / "deploy/Dockerfile").read_text("utf-8").replace("\\\n", "")
    found: list[dict[str, list[str]]] = []
    for line in text.splitlines():
        name, _, arguments = line.partition(" ")
        if name == "FROM":
            found.append({})
        elif name and name[0] != "#":
            found[-1].setdefault(name, []).append(arguments)
    return found


def variables(instructions: list[str]) -> dict[str, str]:
    """Return what `ENV` sets."""
    return dict(word.split("=", 1) for line in instructions for word in shlex.split(line))


def interpreter() -> str:
    """Return a Python that the image's user may run, as it may the base image's."""
    own = os.path.realpath(sys.executable)
    for path in (own, "/usr/bin/python3"):
        reachable = all(folder.stat().st_mode & 0o005 == 0o005 for folder in Path(path).parents)
        if (reachable or not IS_ROOT) and Path(path).exists():
            return path
    pytest.fail("no Python that others may run; as root: apt-get install python3")


def copy_context(target: Path) -> None:
    """Copy what `.dockerignore` lets through; links stay links."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    target.mkdir()
    for name in (line[1:] for line in lines if line.startswith("!")):
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(source, target / name)


def build(folder: Path, stage: dict[str, list[str]]) -> None:
    """Run a stage's `RUN` lines, with its paths under `folder`."""
    bin_folder = folder / "python"
    bin_folder.mkdir()
    pip = f'exec "{sys.executable}" -m pip "$@"'
    runner = f'#!/bin/sh\n[ "$2" = pip ] && shift 2 && {pip}\nexec "{interpreter()}" "$@"\n'
    (bin_folder / "python").write_text(runner, "utf-8")
    (bin_folder / "python").chmod(0o755)
    moved = {"/source": "source", "/wheels": "wheels", "/opt/coatcheck": "opt/coatcheck"}

    def here(text: str) -> str:
        for inside, outside in moved.items():
            text = re.sub(rf"(?<![\w/]){inside}\b", str(folder / outside), text)
        return text

    environment = clean_environment() | variables([here(line) for line in stage["ENV"]])
    environment["PATH"] = f"{bin_folder}:{environment['PATH']}"
    for line in stage["RUN"]:
        done = subprocess.run(
            ["sh", "-ec", here(line)],
            cwd=folder / "source",
            env=environment,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The image, built under a folder that everybody may enter, with a free port for its own."""
    folder = Path(tempfile.mkdtemp(prefix="coatcheck-image-", dir="/var/tmp"))
    try:
        folder.chmod(0o755)
        copy_context(folder / "source")
        first, last = stages()
        build(folder, first)
        user_id = last["USER"][0].partition(":")[0]
        (folder / "data").mkdir(mode=0o700)
        if IS_ROOT:
            os.chown(folder / "data", int(user_id), int(user_id))
        health = re.search(r"CMD (\[.*\])$", last["HEALTHCHECK"][0])
        assert health is not None
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = str(listener.getsockname()[1])
        environment = {
            name: re.sub(r"^/data\b", str(folder / "data"), value)
            for name, value in variables(last["ENV"]).items()
        }
        opt = folder / "opt/coatcheck/bin"
        environment |= {"COATCHECK_PORT": port, "DATA": str(folder / "data"), "USER_ID": user_id}
        environment["PATH"] = f"{opt}:/usr/sbin:/usr/bin:/sbin:/bin"
        yield Image(
            folder, environment, json.loads(last["ENTRYPOINT"][0]), json.loads(health[1]), user_id
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_healthy(image: Image) -> bool:
    """Run the image's health check."""
    command = [*image.health]
    command[0] = str(image.folder / "opt/coatcheck/bin" / command[0])
    done = subprocess.run(
        command, env=image.environment, capture_output=True, timeout=20, check=False
    )
    return done.returncode == 0


def test_the_image_has_no_tools_of_development(image: Image) -> None:
    installed = {
        path.name.partition("-")[0].lower() for path in (image.folder / "opt").rglob("*.dist-info")
    }
    assert "coatcheck" in installed
    assert not {"pip", "pytest", "mypy", "ruff", "hatchling", "playwright"} & installed


def test_without_a_key_it_refuses_to_serve_others(image: Image) -> None:
    done = image.run("serve")
    assert done.returncode != 0
    assert "keys create" in done.stderr
    assert not is_healthy(image)


def test_it_serves_from_its_data_alone_and_ends_when_told(image: Image) -> None:
    made = image.run("keys", "create")
    assert made.returncode == 0, made.stderr
    key = made.stdout.strip()
    process = subprocess.Popen(
        image.command("serve", "--workers", "2"),
        cwd=image.data,
        env=image.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "listening on http://0.0.0.0:" in line, process.communicate(timeout=20)
        assert is_healthy(image)
        url = f"http://127.0.0.1:{image.environment['COATCHECK_PORT']}/v1/blobs"
        headers = {"Authorization": f"Bearer {key}"}
        with urlopen(Request(url, b"a photograph", headers)) as answer:
            digest = json.load(answer)["digest"]
        with urlopen(Request(f"{url}/{digest}", headers=headers)) as answer:
            assert answer.read() == b"a photograph"
        if IS_ROOT:
            status = Path(f"/proc/{process.pid}/status").read_text("ascii")
            assert f"Uid:\t{image.user_id}\t{image.user_id}" in status
            assert re.search(r"^CapBnd:\t0+$", status, re.MULTILINE)
    finally:
        process.terminate()
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    owners = {path.lstat().st_uid for path in image.data.rglob("*")}
    assert owners == {int(image.user_id) if IS_ROOT else os.geteuid()}
