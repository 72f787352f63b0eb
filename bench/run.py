"""The whole bench: which servers, in which order, with which turns."""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.clients.environments import NODE, NODE_MODULES

from .agent import Node, measure_agent
from .caller import Caller
from .dialects import Sides, measure_dialects, measure_inline_memory
from .dify import Size, measure_dify
from .finding import Finding, Unmeasured
from .growth import measure_growth
from .large_upload import SETTINGS as LARGE_UPLOAD_SETTINGS
from .large_upload import measure_large_upload
from .linearity import measure_linearity
from .neighbours import measure_neighbours
from .peak_memory import measure_memory
from .prompts import measure_prompts
from .server_process import ServerProcess
from .spooling import measure_spooling
from .turn_bodies import CHAT, TURN_FORMS, photographs
from .workers import measure_workers
from .wrappers import measure_wrappers

PARTS = (
    "gateway",
    "dialects",
    "spooling",
    "large-upload",
    "neighbours",
    "workers",
    "growth",
    "agent",
    "prompts",
    "wrappers",
    "dify",
)
_IMAGES = 15
_ROOT = Path(__file__).resolve().parent.parent

_UPSTREAM = """
[[upstream]]
name = "{dialect}"
dialect = "{dialect}"
base_url = "{url}{base_path}"
models = ["*"]
reuse = "inline"
mode = "on"
"""


def run_bench(
    folder: Path,
    rounds: int,
    say: Callable[[str], None],
    part: str | None = None,
    dify: Size | None = None,
) -> Iterator[Finding | Unmeasured]:
    """Yield every finding as it is made; keeps data in `folder` and tells `say` what it does.

    `part` is one of `PARTS`; without it, all of them. `dify` is how large Dify's chat is.

    Raises:
        ServerStartError: a server did not start.
        UnexpectedAnswerError: a server did not do its work.
    """
    if part in (None, "gateway"):
        yield from _run_gateway(folder, say)
    if part in (None, "dialects"):
        yield from _run_dialects(folder, rounds, say)
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
    if part in (None, "prompts"):
        yield from measure_prompts(folder, say)
    if part in (None, "wrappers"):
        yield from _run_wrappers(folder, rounds, say)
    if part in (None, "agent"):
        yield from measure_agent(folder, _node(), say)
    if part in (None, "dify"):
        yield from measure_dify(folder, say, dify)


def _node() -> Node | None:
    """Return Node with the SDKs that the tests try, if they were installed."""
    return Node(NODE, NODE_MODULES.folder) if NODE_MODULES.is_made else None


def _run_gateway(folder: Path, say: Callable[[str], None]) -> Iterator[Finding]:
    say(f"painting {_IMAGES} photographs")
    images = photographs(_IMAGES)
    with ExitStack() as stack:
        model = stack.enter_context(upstream(folder))
        with _coatcheck(folder, model.url) as coatcheck:
            say("long lines and bodies")
            yield from measure_linearity(coatcheck)
            with Caller(coatcheck.port) as caller:
                refs = [caller.upload(image) for image in images]
        say("memory, in a fresh process on the same data")
        with _coatcheck(folder, model.url) as coatcheck:
            small, large = CHAT.refs_turn(refs[:1]), CHAT.refs_turn(refs)
            yield from measure_memory(coatcheck, small, large)


def _run_wrappers(folder: Path, rounds: int, say: Callable[[str], None]) -> Iterator[Finding]:
    (image,) = photographs(1)
    with upstream(folder) as model, _coatcheck(folder, model.url) as coatcheck:
        yield from measure_wrappers(model.url, coatcheck.url, image, rounds, say)


def _run_dialects(folder: Path, rounds: int, say: Callable[[str], None]) -> Iterator[Finding]:
    say(f"painting {_IMAGES} photographs")
    images = photographs(_IMAGES)
    with ExitStack() as stack:
        model = stack.enter_context(upstream(folder))
        bare = stack.enter_context(_module(folder, "bench.bare_proxy", model.url))
        for form in TURN_FORMS.values():
            say(f"{form.dialect}: memory for images inline, in a fresh process without them")
            fresh = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
            with _coatcheck(fresh, model.url) as coatcheck:
                yield measure_inline_memory(coatcheck, form, images)
        with _coatcheck(folder, model.url) as coatcheck:
            yield from measure_dialects(Sides(bare, coatcheck), images, rounds, say)


def _module(folder: Path, name: str, *arguments: str) -> ServerProcess:
    command = [sys.executable, "-m", name, *arguments]
    return ServerProcess(command, cwd=_ROOT, log=folder / f"{name}.log")


def upstream(folder: Path) -> ServerProcess:
    """Return a model provider that costs next to nothing; not started yet."""
    return _module(folder, "bench.upstream")


def _coatcheck(folder: Path, upstream_url: str) -> ServerProcess:
    settings = (
        _UPSTREAM.format(dialect=form.dialect, url=upstream_url, base_path=form.base_path)
        for form in TURN_FORMS.values()
    )
    return serve(folder, "".join(settings))


def serve(folder: Path, settings: str) -> ServerProcess:
    """Return `coatcheck serve` with these settings, over the data in `folder`; not started yet."""
    config = folder / "coatcheck.toml"
    config.write_text(settings)
    arguments = ["--port", "0", "--data", str(folder / "data"), "--config", str(config)]
    return _module(folder, "coatcheck.cli", "serve", *arguments)
