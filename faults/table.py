"""The rounds in a table: what was done to the store, how often, and what was lost by it."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from .power_cut import Cuts
from .rounds import Round
from .site import Fault, Start

_WHERE = {Start.NEW: "store, new folder", Start.LEFT: "store, after a kill", Start.SERVED: "HTTP"}


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of fault at one place."""

    where: str
    fault: str
    rounds: int
    missed: int
    """Rounds in which the fault struck nothing."""
    sites: int | None
    """Different system calls that were struck; None where no call is."""
    acknowledged: int
    refused: int | None
    lost: int
    wrong: int
    """Everything else that was not as it has to be."""


def rows_of(rounds: Sequence[Round], cuts: Sequence[Cuts]) -> list[Row]:
    """Return a row for each start and fault that had a round, and one for each file system."""
    rows = [
        _row(where, fault, chosen)
        for start, where in _WHERE.items()
        for fault in Fault
        if (chosen := [r for r in rounds if r.site.start is start and r.fault is fault])
    ]
    for cut in cuts:
        wrong = len(cut.wrong) - cut.lost
        row = Row(
            cut.system, "power cut", cut.rounds, 0, None, cut.acknowledged, None, cut.lost, wrong
        )
        rows.append(row)
    return rows


def _row(where: str, fault: Fault, rounds: Sequence[Round]) -> Row:
    lost = sum(r.lost for r in rounds)
    return Row(
        where,
        fault,
        len(rounds),
        sum(not r.hits for r in rounds),
        len({r.site for r in rounds if r.hits}),
        sum(r.acknowledged for r in rounds),
        sum(r.refused for r in rounds),
        lost,
        sum(len(r.wrong) for r in rounds) - lost,
    )


def print_rows(rows: Sequence[Row], console: Console) -> None:
    """Print the table."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("where", "fault"):
        table.add_column(name)
    for name in ("rounds", "missed", "sites", "acknowledged", "refused", "lost", "wrong"):
        table.add_column(name, justify="right")
    for row in rows:
        numbers: list[int | None] = [row.rounds, row.missed, row.sites, row.acknowledged]
        numbers += [row.refused, row.lost, row.wrong]
        shown = ("-" if number is None else f"{number:,}" for number in numbers)
        table.add_row(row.where, row.fault, *shown)
    console.print(table)
