"""A chat of ten turns that ends with thirty images in memory, by each way, turn by turn in one run.

Each turn shows three new images and, as Dify's memory does, all older ones again: for the tokens of the
history, and for the turn.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.clients.environments import Environment
from tests.dify.background import Background
from tests.dify.prompt import picture

from ..caller import UnexpectedAnswerError
from .api import Facts, Said
from .chain import BASE64, Chain, Way, chaining

IMAGE_BYTES = 2_600_000


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


def run_chats(
    folder: Path,
    ways: Sequence[Way],
    size: Size,
    environment: Environment,
    say: Callable[[str], None],
) -> list[Chat]:
    """Take every way's chat, each turn by all ways in an order that changes.

    Raises:
        ServerStartError: a server did not start.
        UnexpectedAnswerError: an answer was wrong, or the model saw other images.
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
