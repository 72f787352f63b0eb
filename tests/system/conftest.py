"""A real `coatcheck serve`, in a process of its own, on loopback."""

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from coatcheck.cli import main
from coatcheck.cli.assembly import Assemble
from coatcheck.cli.settings import Settings
from coatcheck.cli.surroundings import Surroundings
from coatcheck.store import Keys, open_keys
from coatcheck.web import Route, Server, build_app, join_faces


@dataclass
class Served:
    """A server's process, its address and its data folder."""

    process: subprocess.Popen[bytes]
    url: str
    folder: Path

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


def clean_environment() -> dict[str, str]:
    """Return this process's environment without settings of ours."""
    return {key: value for key, value in os.environ.items() if not key.startswith("COATCHECK_")}


Serve = Callable[..., Served]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a server on a free port; `settings` is the text of its `coatcheck.toml`."""
    yield from _serving(tmp_path)


@pytest.fixture(scope="module")
def serve_long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Start servers that a whole module uses; give each a data folder by its `data`."""
    yield from _serving(tmp_path_factory.mktemp("served"))


def _serving(tmp_path: Path) -> Iterator[Serve]:
    running: list[Served] = []

    def start(
        settings: str = "",
        data: Path | None = None,
        command: tuple[str, ...] = (),
        name: str = "serve",
        port: int = 0,
    ) -> Served:
        folder = data or tmp_path / "data"
        config = tmp_path / "settings.toml"
        config.write_text(settings, "utf-8")
        log = (tmp_path / "serve.log").open("ab")
        process = subprocess.Popen(
            [
                *command,
                *(sys.executable, "-m", "coatcheck.cli", name, "--port", str(port)),
                *("--data", str(folder), "--config", str(config)),
            ],
            cwd=tmp_path,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=log,
        )
        log.close()
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(rb"http://[0-9.]+:[0-9]+", line)
        if found is None:
            process.kill()
            process.wait()
            process.stdout.close()
            pytest.fail(f"no address: {line!r}; {(tmp_path / 'serve.log').read_text()[-2000:]}")
        served = Served(process, found[0].decode(), folder)
        running.append(served)
        return served

    yield start
    for served in running:
        with contextlib.suppress(ProcessLookupError):
            served.process.kill()
        served.process.wait()
        if served.process.stdout:
            served.process.stdout.close()


Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start `coatcheck ARGS..` in a process of its own, its output in pipes."""
    with contextlib.ExitStack() as stack:

        def call(*args: object, url: str) -> "subprocess.Popen[bytes]":
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "coatcheck.cli", *map(str, args)],
                    cwd=tmp_path,
                    env=clean_environment() | {"COATCHECK_URL": url},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
            )
            stack.callback(process.kill)
            return process

        yield call


@dataclass(frozen=True)
class Ran:
    """What a command left."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `coatcheck ARGS..` in this process, as its entry point does: a process costs a second."""

    def call(*args: object, url: str = "") -> Ran:
        out, err = io.BytesIO(), io.BytesIO()
        code: object = None
        with pytest.MonkeyPatch.context() as patch, contextlib.chdir(tmp_path):
            for name in set(os.environ) - set(clean_environment()):
                patch.delenv(name)
            if url:
                patch.setenv("COATCHECK_URL", url)
            patch.setattr(sys, "argv", ["coatcheck", *map(str, args)])
            with (
                contextlib.redirect_stdout(io.TextIOWrapper(out, "utf-8", write_through=True)),
                contextlib.redirect_stderr(io.TextIOWrapper(err, "utf-8", write_through=True)),
            ):
                try:
                    main()
                except SystemExit as ended:
                    code = ended.code
                said = (out.getvalue().decode(), err.getvalue().decode())
        return Ran(code if isinstance(code, int) else 0, *said)

    return call


@dataclass(frozen=True)
class Here:
    """A command that is served in this process, over a store that has a key."""

    url: str
    routes: list[Route]
    keys: Keys


ServeHere = Callable[..., Awaitable[Here]]


@pytest.fixture
async def serve_here(tmp_path: Path) -> AsyncIterator[ServeHere]:
    """Serve what a command assembles, in this process; further arguments are settings."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(
            assemble: Assemble, environment: Mapping[str, str] | None = None, **settings: object
        ) -> Here:
            given = {"data": tmp_path / "data", "min_free_bytes": 0} | settings
            keys = await stack.enter_async_context(open_keys(tmp_path / "data"))
            await keys.create(tenant="default", scopes={"read"})
            surroundings = Surroundings(environment or {})
            assembly = await assemble(Settings.model_validate(given), surroundings, stack)
            routes = join_faces(assembly.faces, title="Coatcheck", version="1")
            server = Server(build_app(routes, keyring=assembly.keyring))
            stack.push_async_callback(server.stop, 0)
            return Here((await server.start()).url, routes, keys)

        yield start
