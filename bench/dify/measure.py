"""A chat of ten turns that ends with thirty images in memory, by each way, turn by turn in one run.

Each turn shows three new images and, as Dify's memory does, all older ones again: for the tokens of the
history, and for the turn.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.clients.environments import DIFY, DIFY_OLD, Environment
from tests.dify.background import Background
from tests.dify.prompt import picture

from ..caller import UnexpectedAnswerError
from ..finding import Finding, Unmeasured
from .api import Facts, Said
from .chain import BASE64, WAYS, Chain, Way, chaining

MAX_CROSSED_PERCENT = 1.0
MAX_REQUEST_KILOBYTES = 1.0
MAX_RESPONSE_KILOBYTES = 40.0
IMAGE_BYTES = 2_600_000
_MEGA = 1e6


@dataclass(frozen=True, slots=True)
class Size:
    """How large the chat is."""

    turns: int = 10
    images_a_turn: int = 3
    image_bytes: int = IMAGE_BYTES

    @property
    def images(self) -> int:
        """How many images are in memory in the end."""
        return self.turns * self.images_a_turn


@dataclass(slots=True)
class Chat:
    """What came of one way's chat: facts and bytes turn by turn, and what it took in all."""

    way: Way
    facts: list[Facts] = field(default_factory=list[Facts])
    crossed: list[int] = field(default_factory=list[int])
    at_daemon_bytes: int = 0
    lines_bytes: int = 0
    ours_seconds: float = 0.0
    plugin_seconds: float = 0.0
    stand_ins_seconds: float = 0.0
    """Of this process: the plugin daemon's face, the model, the hop."""
    plugin_idle_bytes: int = 0
    plugin_peak_bytes: int = 0
    ours_peak_bytes: tuple[int, ...] = ()
    one: Facts | None = None
    """The first image once more, alone, after the chat."""

    @property
    def seconds(self) -> list[float]:
        """How long each turn took, both requests and all that the API does for them."""
        return [each.seconds for each in self.facts]

    @property
    def api_seconds(self) -> float:
        """Processor time of the API."""
        return sum(each.cpu_seconds for each in self.facts)

    @property
    def cpu_seconds(self) -> float:
        """Processor time of all but the stand-ins."""
        return self.api_seconds + self.ours_seconds + self.plugin_seconds


def measure_dify(
    folder: Path,
    say: Callable[[str], None],
    size: Size | None = None,
    ways: Sequence[Way] = WAYS,
    environment: Environment | None = None,
) -> Iterator[Finding | Unmeasured]:
    """Yield what each way took. The first way is `BASE64`, which the others are compared with.

    Raises:
        ServerStartError: a server did not start.
        UnexpectedAnswerError: an answer was wrong, or the model saw other images.
    """
    size = size or Size()
    environment = environment or _sdk()
    if environment is None:
        yield Unmeasured("dify", "python -m tests.clients --install")
        return
    say(f"dify: {size.images} images, dify_plugin {environment.version_of('dify_plugin')}")
    chats = run_chats(folder, ways, size, environment, say)
    for chat in chats:
        yield from _findings(chat, chats[0], size)


def _sdk() -> Environment | None:
    """Return the newest SDK that is installed here."""
    return next((each for each in (DIFY, DIFY_OLD) if not each.lacks and each.is_made), None)


def run_chats(
    folder: Path,
    ways: Sequence[Way],
    size: Size,
    environment: Environment,
    say: Callable[[str], None],
) -> list[Chat]:
    """Take every way's chat, each turn by all ways in an order that changes.

    Raises:
        ServerStartError, UnexpectedAnswerError: see `measure_dify`.
    """
    assert ways[0] == BASE64
    with ExitStack() as stack:
        fresh = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder)))
        script, digests = _script(fresh, size)
        background = stack.enter_context(Background())
        runs: list[_Run] = []
        for number, way in enumerate(ways):
            at = fresh / str(number)
            at.mkdir()
            chain = stack.enter_context(chaining(at, way, environment, background))
            runs.append(_Run(chain, digests))
        for run in runs:
            run.warm_up()
        for number in range(size.turns):
            say(f"dify: turn {number + 1} of {size.turns}, by {len(runs)} ways")
            for run in runs if number % 2 else reversed(runs):
                run.take(script[: number + 1])
        for run in runs:
            run.end(script)
        return [run.chat for run in runs]


def _script(folder: Path, size: Size) -> tuple[list[Said], list[str]]:
    """Return what is asked, without answers, and the images' digests; they are files in a folder."""
    script: list[Said] = []
    digests: list[str] = []
    for turn in range(size.turns):
        paths: list[str] = []
        for number in range(turn * size.images_a_turn, (turn + 1) * size.images_a_turn):
            shown = picture(size.image_bytes, number)
            path = folder / shown.name
            path.write_bytes(shown.data)
            paths.append(str(path))
            digests.append(shown.sha256)
        script.append(Said(text=f"What do these show? ({turn})", images=tuple(paths)))
    return script, digests


class _Run:
    """One way's chat as it goes on."""

    def __init__(self, chain: Chain, digests: Sequence[str]) -> None:
        self.chat = Chat(chain.way)
        self._chain = chain
        self._digests = digests
        self._answers: list[str] = []

    def warm_up(self) -> None:
        """Take a turn of text alone, and let everything count from then on."""
        chain, chat = self._chain, self.chat
        chain.api.take([Said(text="Hello")])
        for server in chain.ours:
            server.wait_until_idle()
            server.reset_peak()
        chain.stand.forget()
        chain.stand.forget_peak()
        figures = chain.stand.figures()
        chat.plugin_idle_bytes = figures.peak_rss_bytes
        chat.plugin_seconds = -figures.cpu_seconds
        chat.ours_seconds = -sum(server.cpu_seconds() for server in chain.ours)
        chat.at_daemon_bytes = -chain.at_daemon_bytes
        chat.lines_bytes = -chain.lines_bytes

    def take(self, asked: Sequence[Said]) -> None:
        """Take the turn that is asked last; those before it have their answers by now."""
        chain, chat = self._chain, self.chat
        told = [
            said.model_copy(update={"answer": answer})
            for said, answer in zip(asked, [*self._answers, None], strict=True)
        ]
        before, own = chain.hop_bytes, time.process_time()
        facts = chain.api.take(told)
        chat.stand_ins_seconds += time.process_time() - own
        crossed = chain.hop_bytes - before if chain.way.is_short else facts.body_bytes
        chat.crossed.append(crossed)
        chat.facts.append(facts)
        self._answers.append(facts.text)
        self._compare(asked)

    def end(self, asked: Sequence[Said]) -> None:
        """Read the figures off, and ask about one image alone."""
        chain, chat = self._chain, self.chat
        for server in chain.ours:
            server.wait_until_idle()
        figures = chain.stand.figures()
        chat.plugin_peak_bytes = figures.peak_rss_bytes
        chat.plugin_seconds += figures.cpu_seconds
        chat.ours_seconds += sum(server.cpu_seconds() for server in chain.ours)
        chat.ours_peak_bytes = tuple(server.peak_since(0).peak_bytes for server in chain.ours)
        chat.at_daemon_bytes += chain.at_daemon_bytes
        chat.lines_bytes += chain.lines_bytes
        chat.one = chain.api.take([Said(text="What is it?", images=asked[0].images[:1])])

    def _compare(self, asked: Sequence[Said]) -> None:
        """Look whether the model saw what was asked.

        Raises:
            UnexpectedAnswerError: other images, or in another order.
        """
        seen = [part.sha256 for part in self._chain.stand.asked[-1].parts]
        if seen != self._digests[: sum(len(said.images) for said in asked)]:
            raise UnexpectedAnswerError(f"dify, {self.chat.way.name}: the model saw other images")


def _findings(chat: Chat, base: Chat, size: Size) -> Iterator[Finding]:
    name = f"dify, {chat.way.name}"
    seconds = chat.seconds
    first, middle, last = seconds[0], median(seconds), seconds[-1]
    yield Finding(
        f"{name}: the last turn's time",
        last,
        None,
        "s",
        f"{_times(last, base.seconds[-1])}first {first:.2f}, median {middle:.2f}",
    )
    yield Finding(
        f"{name}: CPU",
        chat.cpu_seconds,
        None,
        "s",
        f"{_times(chat.cpu_seconds, base.cpu_seconds)}API {chat.api_seconds:.2f}, ours "
        f"{chat.ours_seconds:.2f}, plugin {chat.plugin_seconds:.2f}; beside it what stands for the "
        f"plugin daemon and the model {chat.stand_ins_seconds:.2f}",
    )
    ours = " and ".join(f"{peak / _MEGA:.0f}" for peak in chat.ours_peak_bytes) or "none"
    yield Finding(
        f"{name}: peak memory of the plugin",
        chat.plugin_peak_bytes / _MEGA,
        None,
        "MB",
        f"{_times(chat.plugin_peak_bytes, base.plugin_peak_bytes)}text alone "
        f"{chat.plugin_idle_bytes / _MEGA:.0f}; API "
        f"{max(each.peak_rss_bytes for each in chat.facts) / _MEGA:.0f}, ours {ours}",
    )
    yield Finding(
        f"{name}: between the hosts",
        sum(chat.crossed) / _MEGA,
        None,
        "MB",
        f"{_times(sum(chat.crossed), sum(base.crossed))}first turn {chat.crossed[0] / _MEGA:.2f}, "
        f"last {chat.crossed[-1] / _MEGA:.2f}; at the plugin daemon "
        f"{chat.at_daemon_bytes / _MEGA:.1f}, in the plugin's lines {chat.lines_bytes / _MEGA:.1f}",
    )
    if chat.way.is_short:
        yield _after_the_first(chat, base, size)
    if chat.way.sends == "refs" and chat.one is not None:
        up, down = chat.one.request_bytes / 1e3, chat.one.response_bytes / 1e3
        chunks = len(chat.one.text.split())
        yield Finding(f"{name}: one image, request", up, MAX_REQUEST_KILOBYTES, "kB", "its body")
        yield Finding(
            f"{name}: one image, answer", down, MAX_RESPONSE_KILOBYTES, "kB", f"{chunks} chunks"
        )


def _after_the_first(chat: Chat, base: Chat, size: Size) -> Finding:
    """What crossed after the first turn, without the bytes of the images that were new."""
    new = (size.turns - 1) * size.images_a_turn * size.image_bytes
    ours, theirs = sum(chat.crossed[1:]) - new, sum(base.crossed[1:])
    return Finding(
        f"dify, {chat.way.name}: after the first turn, beside new images",
        100 * ours / theirs,
        MAX_CROSSED_PERCENT,
        "%",
        f"{ours / 1e3:.0f} kB and {new / _MEGA:.1f} MB of new images, "
        f"base64 {theirs / _MEGA:.1f} MB",
    )


def _times(value: float, base: float) -> str:
    """Return the ratio to base64's."""
    return "" if value == base else f"{value / base:.2f} x base64; "
