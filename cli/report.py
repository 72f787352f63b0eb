"""`report`: what was observed, and what `on` would have saved.

It reads the file that a running server writes, and changes nothing.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias

import click
from rich.console import Console
from rich.table import Table

from coatcheck import daemon
from coatcheck.protocol import Json
from coatcheck.web.template import in_bytes, in_utc

from .errors import NotFoundError, QuantityError, ReportError, UsageError
from .output import note, print_json
from .quantity import parse_duration
from .settings_sources import load_settings

Column: TypeAlias = Literal["upstream", "tenant", "mode"]
COLUMNS: tuple[Column, ...] = ("upstream", "tenant", "mode")
_PIPE_WIDTH = 120  # for whoever reads the table from a file
_PLACES_SHOWN = 3


@dataclass(slots=True)
class Line:
    """One line of the report: a group's names, and its sums."""

    names: tuple[str, ...]
    figures: daemon.Figures = field(default_factory=daemon.Figures)
    broke_at: Counter[tuple[int, str]] = field(default_factory=Counter[tuple[int, str]])

    def add(self, item: daemon.ObservedSum) -> None:
        """Add a sum."""
        self.figures.add(item.figures)
        self.broke_at += item.broke_at

    @property
    def saved_bytes(self) -> int:
        """What `on` would have saved on the way up; below zero where its envelope is longer."""
        return self.figures.bytes_up - self.figures.on_bytes

    def to_json(self) -> dict[str, Json]:
        """Return all figures, with `saved_bytes` and the places of the breaks."""
        places: Counter[int] = Counter()
        roles: Counter[str] = Counter()
        for (at, role), count in self.broke_at.items():
            places[at] += count
            roles[role] += count
        return {
            **asdict(self.figures),
            "saved_bytes": self.saved_bytes,
            "broke_at": {str(at): count for at, count in sorted(places.items())},
            "broke_in": dict[str, Json](sorted(roles.items())),
        }


@click.command()
@click.option("--since", default="7d", show_default=True, help="A time ago (7d, 12h), or a date.")
@click.option("--until", default="0", help="The same. [default: now]")
@click.option(
    "--by", default="upstream,tenant", show_default=True, help=f"Of {', '.join(COLUMNS)}."
)
@click.option("--data", type=click.Path(path_type=Path), help="Data folder of serve.")
@click.option("--cache", type=click.Path(path_type=Path), help="Cache folder of daemon.")
@click.option("--config", type=click.Path(path_type=Path), help="Settings. [./coatcheck.toml]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def report(
    since: str,
    until: str,
    by: str,
    data: Path | None,
    cache: Path | None,
    config: Path | None,
    *,
    as_json: bool,
) -> None:
    """Say what upstreams with mode observe or on were sent, and what on would have saved.

    Counts are by the hour, so the first and the last hour are in it as a whole.
    """
    now = time.time()
    begin, end = _moment(since, now), _moment(until, now)
    if begin > end:
        raise UsageError("the report ends before it begins: see --since and --until")
    columns = _columns(by)
    path = _file(data, cache, config)
    if not path.is_file():
        raise NotFoundError(
            f'no {path}: nothing was observed there. Give an [[upstream]] mode = "observe", '
            "and --data or --cache the folder that its server uses"
        )
    try:
        lines = _lines(daemon.read_observations(path, begin, end), columns)
    except daemon.ObservationsUnreadableError as error:
        raise ReportError(str(error)) from error
    if as_json:
        print_json(_document(begin, end, columns, lines))
    elif lines:
        _print_tables(begin, end, columns, lines)
    else:
        note(f"nothing was observed from {in_utc(begin)} to {in_utc(end)}")


def _columns(text: str) -> list[Column]:
    asked = [name.strip() for name in text.split(",") if name.strip()]
    if not asked or set(asked) - set(COLUMNS):
        raise UsageError(f"--by takes some of {', '.join(COLUMNS)}, joined by commas; not {text!r}")
    return [name for name in COLUMNS if name in asked]


def _file(data: Path | None, cache: Path | None, config: Path | None) -> Path:
    """Return the file to read: of the folder given, else of those in the settings that has one."""
    if data and cache:
        raise UsageError("give --data or --cache, not both")
    if folder := data or cache:
        return folder / daemon.OBSERVATIONS_FILE
    settings = load_settings(config, {})
    files = [folder / daemon.OBSERVATIONS_FILE for folder in (settings.data, settings.cache)]
    return next(filter(Path.is_file, files), files[0])


def _moment(text: str, now: float) -> float:
    """Read a time ago, or a date with or without a time, in UTC where it says no zone."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            return now - parse_duration(text)
        except QuantityError as error:
            raise UsageError(f"{text!r} is neither a time ago, such as 7d, nor a date") from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _lines(sums: Sequence[daemon.ObservedSum], columns: Sequence[Column]) -> list[Line]:
    """Group the sums, the one with the most bytes first."""
    lines: dict[tuple[str, ...], Line] = {}
    for item in sums:
        names = tuple(str(getattr(item, column)) for column in columns)
        lines.setdefault(names, Line(names)).add(item)
    return sorted(lines.values(), key=lambda line: (-line.figures.bytes_up, line.names))


def _total(lines: Sequence[Line], width: int) -> Line:
    total = Line(("all", *([""] * (width - 1))))
    for line in lines:
        total.figures.add(line.figures)
        total.broke_at += line.broke_at
    return total


def _document(
    begin: float, end: float, columns: Sequence[Column], lines: Sequence[Line]
) -> dict[str, Json]:
    rows: list[Json] = [
        dict[str, Json](zip(columns, line.names, strict=True)) | line.to_json() for line in lines
    ]
    total = _total(lines, len(columns)).to_json()
    return {"since": begin, "until": end, "by": list(columns), "rows": rows, "total": total}


def _print_tables(
    begin: float, end: float, columns: Sequence[Column], lines: Sequence[Line]
) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH)
    console.print(f"From {in_utc(begin)} to {in_utc(end)}\n", highlight=False)
    total = [_total(lines, len(columns))] if len(lines) > 1 else []
    traffic = _table(columns, "requests", "up", "down", "repeated", "", "on would save", "")
    for line in [*lines, *total]:
        sums = line.figures
        traffic.add_row(
            *line.names,
            f"{sums.requests:,}",
            in_bytes(sums.bytes_up),
            in_bytes(sums.bytes_down),
            in_bytes(sums.repeated_bytes),
            _share(sums.repeated_bytes, sums.bytes_up),
            in_bytes(line.saved_bytes),
            _share(line.saved_bytes, sums.bytes_up),
        )
    bodies = _table(columns, "turns", "images", "", ">1 MB", ">6 MB", ">20 MB")
    for line in [*lines, *total]:
        sums = line.figures
        bodies.add_row(
            *line.names,
            f"{sums.turns:,}",
            f"{sums.images:,}",
            in_bytes(sums.image_bytes),
            f"{sums.over_1_mb:,}",
            f"{sums.over_6_mb:,}",
            f"{sums.over_20_mb:,}",
        )
    console.print(traffic)
    console.print(bodies)
    console.print(_prefixes(columns, [*lines, *total]))
    if dropped := sum(line.figures.dropped for line in lines):
        note(
            f"{dropped:,} bodies were too large, or came faster than they could be read; "
            "they are counted in bytes only"
        )


def _prefixes(columns: Sequence[Column], lines: Sequence[Line]) -> Table:
    """Return the table of what conversations begin with, which providers cache."""
    names = ("conversations", "broken", "breaks", "lost", "prompt tokens", "cached", "", "at")
    table = _table(columns, *names)
    for line in lines:
        sums = line.figures
        table.add_row(
            *line.names,
            f"{sums.conversations:,}",
            f"{sums.broken_conversations:,}",
            f"{sums.breaks:,}",
            in_bytes(sums.lost_bytes),
            f"{sums.prompt_tokens:,}",
            f"{sums.cached_tokens:,}",
            _share(sums.cached_tokens, sums.prompt_tokens),
            _places(line.broke_at),
        )
    return table


def _table(columns: Sequence[Column], *figures: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True)
    for name in figures:
        table.add_column(name, justify="right", no_wrap=name != "at")
    return table


def _places(broke_at: Counter[tuple[int, str]]) -> str:
    """Return the places where most prefixes broke: `3 user: 5` or, before all messages, `tools: 2`."""
    most = broke_at.most_common(_PLACES_SHOWN)
    shown = [f"{_place(at, role)}: {count:,}" for (at, role), count in most]
    return ", ".join([*shown, ".."] if len(broke_at) > _PLACES_SHOWN else shown)


def _place(at: int, role: str) -> str:
    return (role or "before") if at < 0 else f"{at} {role}".rstrip()


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""
