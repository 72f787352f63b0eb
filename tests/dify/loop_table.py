"""What one turn costs on each hop of the loop, and in the plugin: for each SDK, form and way.

A row's plugin has started anew and has taken a turn of text alone; its peak is over that turn's. What
crosses between two of ours is counted both ways, heads and all; the rest are bodies and lines.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ..clients.environments import DIFY, DIFY_ECHOING, DIFY_OLD, Environment
from .api_client import Answer, ApiClient
from .middle import at_the_edge, client_of, give_hook, in_front
from .peak import IMAGE_BYTES, NO_LIMIT
from .prompt import Picture, image, invocation, picture, user
from .stand import Stand, standing

SDKS = (DIFY_ECHOING, DIFY_OLD, DIFY)
_COLUMNS = (
    *(
        "dify_plugin",
        "images",
        "form",
        "way",
        "from the API",
        "between ours",
        "to the plugin daemon",
    ),
    *("to the plugin", "from the plugin", "to the API", "plugin CPU", "plugin RSS", "seconds"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A turn. Bytes, but for `cpu_seconds` and `seconds`; `rss_bytes` is above a turn without images."""

    sdk: str
    images: int
    form: str
    way: str
    from_api: int
    between: int
    to_daemon: int
    to_plugin: int
    from_plugin: int
    to_api: int
    cpu_seconds: float
    rss_bytes: int
    seconds: float

    def cells(self) -> list[str]:
        """Return it as it is shown."""
        sizes = (self.from_api, self.between, self.to_daemon, self.to_plugin, self.from_plugin)
        return [
            *(self.sdk, str(self.images), self.form, self.way),
            *(_shown(size) for size in (*sizes, self.to_api)),
            *(f"{self.cpu_seconds:.2f} s", _shown(self.rss_bytes), f"{self.seconds:.2f}"),
        ]


class _Measured:
    """The ways to one SDK's plugin. Owned by a stack."""

    def __init__(self, environment: Environment, folder: Path, stack: ExitStack) -> None:
        self._sdk = environment.version_of("dify_plugin")
        self._stand = stack.enter_context(standing(environment, folder / "dify", NO_LIMIT))
        self._front = stack.enter_context(in_front(self._stand, folder / "front"))
        self._edge = stack.enter_context(at_the_edge(self._stand, folder / "edge"))
        hooked = stack.enter_context(standing(environment, folder / "hooked", NO_LIMIT))
        self._hooked = stack.enter_context(
            in_front(hooked, folder / "before", has_keys=True, reuse="ref")
        )
        give_hook(self._hooked)

    def rows(self, count: int) -> Iterator[Row]:
        """Yield a row for each form and way, with so many images."""
        pictures = [picture(IMAGE_BYTES, number) for number in range(count)]
        inline: list[str | None] = [None] * count
        refs: list[str | None] = [*self._front.put(*pictures)]
        self._hooked.put(*pictures)
        front, edge, hooked = self._front, self._edge, self._hooked
        turns: list[tuple[str, str, Stand, Callable[[], ApiClient], Sequence[str | None]]] = [
            ("base64", "without us", self._stand, lambda: client_of(self._stand), inline),
            ("base64", "in front", self._stand, front.api, inline),
            ("ref", "in front", self._stand, front.api, refs),
            ("base64", "edge, first turn", self._stand, edge.api, inline),
            ("base64", "edge, later turn", self._stand, edge.api, inline),
            ("base64", "in front, hook", hooked.stand, hooked.api, inline),
            ("ref", "in front, hook", hooked.stand, hooked.api, refs),
            ("ref", "hook alone", hooked.stand, lambda: client_of(hooked.stand), refs),
        ]
        for form, way, stand, api, names in turns:
            with api() as client:
                yield self._row(form, way, stand, client, pictures, names)

    def _row(
        self,
        form: str,
        way: str,
        stand: Stand,
        client: ApiClient,
        pictures: Sequence[Picture],
        names: Sequence[str | None],
    ) -> Row:
        stand.start_plugin()
        stand.kill_plugin()
        with client_of(stand) as direct:
            direct.invoke(invocation(stand.model.url, [user("Hello.")]))
        stand.forget()
        stand.forget_peak()
        before, passed = stand.figures(), self._edge.passed
        shown = map(image, pictures, names)
        answer: Answer = client.invoke(invocation(stand.model.url, [user("What?", *shown)]))
        after = stand.figures()
        received, asked = stand.received[-1], stand.asked[-1]
        assert [part.sha256 for part in asked.parts] == [each.sha256 for each in pictures]
        return Row(
            self._sdk,
            len(pictures),
            form,
            way,
            answer.request_bytes,
            self._edge.passed - passed,
            received.size,
            received.bytes_to_plugin,
            received.bytes_from_plugin,
            answer.response_bytes,
            after.cpu_seconds - before.cpu_seconds,
            after.peak_rss_bytes - before.peak_rss_bytes,
            answer.seconds,
        )


def measure(folder: Path, sdks: Sequence[Environment] = SDKS) -> Iterator[Row]:
    """Yield the rows of SDKs as they come. An SDK that this machine has no Python for is left out.

    The one that echoes takes minutes for more than an image, so it is given one.
    """
    for environment in sdks:
        if environment.lacks:
            continue
        with ExitStack() as stack:
            place = folder / environment.name
            for name in ("front", "edge", "before"):
                (place / name).mkdir(parents=True)
            measured = _Measured(environment, place, stack)
            for count in (1,) if environment is DIFY_ECHOING else (1, 15):
                yield from measured.rows(count)


def line_of(cells: Sequence[str]) -> str:
    """Return a line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def head(columns: Sequence[str] = _COLUMNS) -> str:
    """Return a table's first lines."""
    return f"{line_of(columns)}\n|{'---|' * len(columns)}"


def _shown(size: int) -> str:
    if size < 10_000:
        return f"{size} B"
    return f"{size / 1000:.0f} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"
