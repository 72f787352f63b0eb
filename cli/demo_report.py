"""What the demo measured, as a table with bars for people and as JSON for programs.

Bytes are those at the client's socket, in kB = 1000 bytes. The table puts the three ways side by
side, turn by turn, and is readable at 100 columns without colours. Ratios compare with inline.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from coatcheck.protocol import Json, JsonObject

__all__ = ["DemoReport", "TurnFigures", "Way", "print_report", "report_json"]

_BAR_COLUMNS: Final = 56
_PLAIN_BAR: Final = "#"
_BLOCKS: Final = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█")
_NOT_SENT: Final = "-"
_HTTP_OK: Final = 200
_BYTE_UNITS: Final = (("kB", 1e3), ("MB", 1e6), ("GB", 1e9))


class Way(StrEnum):
    """How the images of a conversation travel."""

    INLINE = "inline"
    """As base64 in the whole list of messages, on every turn."""
    REFS = "refs"
    """Uploaded once; the whole list of messages names them, on every turn."""
    ENVELOPE = "envelope"
    """Uploaded once; each request names the prompt it continues and carries what is new."""


_STYLES: Final = ((Way.INLINE, "red"), (Way.REFS, "yellow"), (Way.ENVELOPE, "green"))


@dataclass(frozen=True, slots=True)
class TurnFigures:
    """One turn of one way; what was uploaded for a turn counts into it."""

    way: Way
    turn: int
    """Counts from 1."""
    bytes_up: int
    bytes_down: int
    first_token_seconds: float | None
    """From the start of the turn, uploads included, to the answer's first text; None without."""
    status: int
    """What the request gets behind the body limit. Where that is not 200, the other figures were
    taken on the same link without the limit."""


@dataclass(frozen=True, slots=True)
class DemoReport:
    """A whole run: the link, the images, the figures and what was said of the images."""

    uplink_bits_per_second: float
    round_trip_seconds: float
    body_limit_bytes: int | None
    image_bytes: tuple[int, ...]
    figures: tuple[TurnFigures, ...]
    seen: tuple[str, ...]
    """What the model said of each image."""
    answers_agree: bool
    """Whether all three ways got the same answers, word for word."""

    def of(self, way: Way) -> tuple[TurnFigures, ...]:
        """The turns of one way, in order."""
        return tuple(sorted((f for f in self.figures if f.way is way), key=lambda f: f.turn))

    def bytes_up(self, way: Way) -> int:
        """All that one way sent."""
        return sum(figures.bytes_up for figures in self.of(way))

    def bytes_down(self, way: Way) -> int:
        """All that one way received."""
        return sum(figures.bytes_down for figures in self.of(way))

    def waited_seconds(self, way: Way) -> float:
        """The time that one way waited for first tokens, over all turns."""
        return sum(figures.first_token_seconds or 0.0 for figures in self.of(way))


def report_json(report: DemoReport) -> JsonObject:
    """The report as JSON: every figure, then totals and ratios by way."""
    turns: list[Json] = [
        {**asdict(figures), "way": figures.way.value} for figures in report.figures
    ]
    images: list[Json] = [
        {"bytes": size, "seen": seen}
        for size, seen in zip(report.image_bytes, report.seen, strict=True)
    ]
    return {
        "link": {
            "uplink_bits_per_second": report.uplink_bits_per_second,
            "round_trip_seconds": report.round_trip_seconds,
            "body_limit_bytes": report.body_limit_bytes,
        },
        "images": images,
        "turns": turns,
        "totals": {way.value: _totals(report, way) for way in Way},
        "answers_agree": report.answers_agree,
    }


def _totals(report: DemoReport, way: Way) -> JsonObject:
    return {
        "bytes_up": report.bytes_up(way),
        "bytes_down": report.bytes_down(way),
        "first_token_seconds": report.waited_seconds(way),
        "bytes_up_of_inline": _share(report.bytes_up(way), report.bytes_up(Way.INLINE)),
        "bytes_up_of_images": _share(report.bytes_up(way), sum(report.image_bytes)),
        "first_token_of_inline": _share(
            report.waited_seconds(way), report.waited_seconds(Way.INLINE)
        ),
        "refused_turns": [f.turn for f in report.of(way) if f.status != _HTTP_OK],
    }


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 6) if whole else None


def print_report(report: DemoReport, console: Console) -> None:
    """Print the link, what was seen, the table, the bars and a line on each total."""
    console.print(_link_line(report), highlight=False)
    for number, (size, seen) in enumerate(
        zip(report.image_bytes, report.seen, strict=True), start=1
    ):
        console.print(f"image {number}, {_bytes(size)}: {seen}", highlight=False, markup=False)
    console.print()
    console.print(_table(report))
    _print_bars(report, console)
    console.print()
    for line in _closing_lines(report):
        console.print(line, highlight=False, markup=False)


def _link_line(report: DemoReport) -> str:
    limit = report.body_limit_bytes
    return (
        f"Uplink {report.uplink_bits_per_second / 1e6:g} Mbit/s, "
        f"round trip {report.round_trip_seconds * 1000:g} ms, "
        + ("no body limit." if limit is None else f"request bodies up to {limit:,} bytes.")
    )


def _table(report: DemoReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_footer=True)
    table.add_column("\nturn", "all", justify="right")
    for way, style in _STYLES:
        first = f"{report.waited_seconds(way):.2f} s"
        table.add_column(
            f"{way.value}\nup", _bytes(report.bytes_up(way)), justify="right", style=style
        )
        table.add_column("\ndown", _bytes(report.bytes_down(way)), justify="right")
        table.add_column("first\ntoken", first, justify="right")
        table.add_column("", "", justify="right", style="bold red")
    for row in zip(*(report.of(way) for way in Way), strict=True):
        table.add_row(str(row[0].turn), *(cell for figures in row for cell in _cells(figures)))
    return table


def _cells(figures: TurnFigures) -> tuple[str, str, str, str]:
    seconds = figures.first_token_seconds
    return (
        _bytes(figures.bytes_up),
        _bytes(figures.bytes_down),
        _NOT_SENT if seconds is None else f"{seconds:.2f} s",
        "" if figures.status == _HTTP_OK else str(figures.status),
    )


def _print_bars(report: DemoReport, console: Console) -> None:
    def up(figures: TurnFigures) -> str:
        refused = "" if figures.status == _HTTP_OK else f"  {figures.status}"
        return _bytes(figures.bytes_up) + refused

    rows = [(turn[0].turn, turn) for turn in zip(*(report.of(way) for way in Way), strict=True)]
    longest = max(figures.bytes_up for figures in report.figures)
    console.print("bytes up, turn by turn", style="bold")
    for number, row in rows:
        for figures, (way, style) in zip(row, _STYLES, strict=True):
            label = f"{number if way is Way.INLINE else '':>4} {way.value:<9}"
            bar = _bar(figures.bytes_up / longest, console)
            console.print(Text.assemble(label, (bar, style), " ", up(figures)), no_wrap=True)
    _print_total_bars("bytes up, all turns", report.bytes_up, _bytes, console)
    _print_total_bars(
        "waiting for first tokens, all turns", report.waited_seconds, _seconds, console
    )


def _print_total_bars(
    title: str, amount: Callable[[Way], float], show: Callable[[float], str], console: Console
) -> None:
    console.print()
    console.print(title, style="bold")
    inline = amount(Way.INLINE)
    longest = max(amount(way) for way in Way) or 1
    for way, style in _STYLES:
        shown = show(amount(way))
        if way is not Way.INLINE and amount(way):
            shown += f"  {inline / amount(way):.1f} x less than inline"
        bar = _bar(amount(way) / longest, console)
        console.print(Text.assemble(f"     {way.value:<9}", (bar, style), " ", shown), no_wrap=True)


def _bar(share: float, console: Console) -> str:
    """A bar to scale, by eighths of a column where the terminal has such signs."""
    if console.options.ascii_only:
        return _PLAIN_BAR * max(1, round(share * _BAR_COLUMNS))
    whole, eighths = divmod(max(1, round(share * _BAR_COLUMNS * 8)), 8)
    return _BLOCKS[8] * whole + _BLOCKS[eighths]


def _closing_lines(report: DemoReport) -> Sequence[str]:
    images = sum(report.image_bytes)
    lines = [
        f"{way.value}: {_bytes(report.bytes_up(way))} up, "
        f"{report.bytes_up(way) / images:.4f} x the {_bytes(images)} of images"
        for way in Way
    ]
    refused = [figures for figures in report.of(Way.INLINE) if figures.status != _HTTP_OK]
    if refused:
        lines.append(
            f"{refused[0].status}: the reverse proxy's answer to {len(refused)} of "
            f"{len(report.of(Way.INLINE))} inline turns. Their bytes and times were taken without "
            "its limit. /v1/blobs, where images are handed in, has no such limit here."
        )
    agree = "the same, word for word" if report.answers_agree else "NOT the same"
    return [*lines, f"The answers of the three ways are {agree}."]


def _seconds(seconds: float) -> str:
    return f"{seconds:.2f} s"


def _bytes(size: float) -> str:
    """Three significant figures: 312 B, 1.21 kB, 13.9 MB."""
    if size < 1000:
        return f"{size:.0f} B"
    unit, scale = next(
        ((unit, scale) for unit, scale in _BYTE_UNITS if size < 999.5 * scale), _BYTE_UNITS[-1]
    )
    return f"{size / scale:#.3g}".rstrip(".") + f" {unit}"
