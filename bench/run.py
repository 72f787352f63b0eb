"""The whole bench: which servers, in which order, with which turns."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from .caller import Caller
from .finding import Finding, Unmeasured
from .growth import measure_growth
from .large_upload import SETTINGS as LARGE_UPLOAD_SETTINGS
from .large_upload import measure_large_upload
from .linearity import measure_linearity
from .neighbours import measure_neighbours
from .peak_memory import measure_memory
from .server_process import ServerProcess
from .spooling import measure_spooling
from .turn_bodies import inline_turn, photographs, refs_turn, text_turn
from .turns import MAX_REFS_RATIO, MAX_TEXT_RATIO, TurnCase, compare_turns
from .workers import measure_workers

PARTS = ("gateway", "spooling", "large-upload", "neighbours", "workers", "growth")
_IMAGES = 15
_ROOT = Path(__file__).resolve().parent.parent

_SETTINGS = """
[[upstream]]
name = "bench"
dialect = "openai.chat"
base_url = "{url}/v1"
models = ["*"]
reuse = "inline"
mode = "on"
"""


def run_bench(
    folder: Path, rounds: int, say: Callable[[str], None], part: str | None = None
) -> Iterator[Finding | Unmeasured]:
    """Yield every finding as it is made; keeps data in `folder` and tells `say` what it does.

    `part` is one of `PARTS`; without it, all of them.

    Raises:
        ServerStartError: a server did not start.
        UnexpectedAnswerError: a server did not do its work.
    """
    if part in (None, "gateway"):
        yield from _run_gateway(folder, rounds, say)
    if part in (None, "spooling"):
        say("spooling an upload")
        yield from measure_spooling(folder)
    if part in (None, "large-upload"):
        say("uploading a gigabyte in one request, and resumable")
        yield from measure_large_upload(lambda: serve(folder, LARGE_UPLOAD_SETTINGS))
    if part in (None, "neighbours"):
        say(f"uploads and downloads beside neighbours: {rounds} rounds each")
        yield from measure_neighbours(folder, rounds)
    if part in (None, "workers"):
        say("two workers beside one")
        yield from measure_workers(folder)
    if part in (None, "growth"):
        yield from measure_growth(folder, say)


def _run_gateway(folder: Path, rounds: int, say: Callable[[str], None]) -> Iterator[Finding]:
    say(f"painting {_IMAGES} photographs")
    images = photographs(_IMAGES)
    with ExitStack() as stack:
        model = stack.enter_context(upstream(folder))
        bare = stack.enter_context(_module(folder, "bench.bare_proxy", model.url))
        with _coatcheck(folder, model.url) as coatcheck:
            say("uploading them")
            with Caller(coatcheck.port) as caller:
                refs = [caller.upload(image) for image in images]
            for case in _cases(images, refs):
                say(f"{case.name}: {rounds} rounds of {case.turns_a_round} turns each way")
                yield from compare_turns(case, bare, coatcheck, rounds)
            say("long lines and bodies")
            yield from measure_linearity(coatcheck)
        say("memory, in a fresh process on the same data")
        with _coatcheck(folder, model.url) as coatcheck:
            yield from measure_memory(coatcheck, refs_turn(refs[:1]), refs_turn(refs))


def _cases(images: list[bytes], refs: list[str]) -> Iterator[TurnCase]:
    for count, turns_a_round in ((1, 10), (len(images), 2)):
        name = f"{count} image{'s' if count > 1 else ''} of 2.6 MB"
        bare_body, coatcheck_body = inline_turn(images[:count]), refs_turn(refs[:count])
        yield TurnCase(name, bare_body, coatcheck_body, turns_a_round, MAX_REFS_RATIO)
    yield TurnCase("text only", text_turn(), text_turn(), 20, MAX_TEXT_RATIO)


def _module(folder: Path, name: str, *arguments: str) -> ServerProcess:
    command = [sys.executable, "-m", name, *arguments]
    return ServerProcess(command, cwd=_ROOT, log=folder / f"{name}.log")


def upstream(folder: Path) -> ServerProcess:
    """Return a model provider that costs next to nothing; not started yet."""
    return _module(folder, "bench.upstream")


def _coatcheck(folder: Path, upstream_url: str) -> ServerProcess:
    return serve(folder, _SETTINGS.format(url=upstream_url))


def serve(folder: Path, settings: str) -> ServerProcess:
    """Return `coatcheck serve` with these settings, over the data in `folder`; not started yet."""
    config = folder / "coatcheck.toml"
    config.write_text(settings)
    arguments = ["--port", "0", "--data", str(folder / "data"), "--config", str(config)]
    return _module(folder, "coatcheck.cli", "serve", *arguments)
