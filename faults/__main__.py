"""`python -m faults`: break a store again and again, print what came of it, fail if anything did."""

import asyncio
import json
import logging
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console

from .disk import SYSTEMS, NoDiskError
from .power_cut import Careless, Cuts, cut_power
from .rounds import Round, Rounds
from .site import Start
from .table import print_rows, rows_of


@click.command()
@click.option("--rounds", default=500, show_default=True, help="Faults in calls of the store.")
@click.option("--served", default=60, show_default=True, help="Faults in calls of the server.")
@click.option("--cuts", default=30, show_default=True, help="Power cuts on each file system.")
@click.option("--seed", default=1, show_default=True, help="Which faults, and when.")
@click.option("--jobs", default=2, show_default=True, help="Rounds at once.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
@click.option(
    "--careless",
    type=click.Choice(["files", "folders"]),
    help="Leave these unsynced in power cuts, to see that it is found.",
)
def main(
    rounds: int,
    served: int,
    cuts: int,
    seed: int,
    jobs: int,
    as_json: bool,
    careless: Careless | None,
) -> None:
    """Kill, fill and fail a store at its system calls, and cut its power; say what was lost.

    Exits with 1 when anything acknowledged was lost, or anything else was not as it has to be.
    """
    console = Console(width=None if sys.stdout.isatty() else 120)
    progress = Console(stderr=True)
    logging.disable(logging.CRITICAL)  # what a store says of its faults is looked for elsewhere
    with tempfile.TemporaryDirectory(prefix="coatcheck-faults-") as name:
        done = asyncio.run(_strike(Path(name), rounds, served, seed, jobs, progress))
        cut = asyncio.run(_cut(Path(name), cuts, seed, careless, progress))
    rows = rows_of(done, cut)
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        print_rows(rows, console)
        console.print(
            f"seed {seed}: the same one strikes at the same calls of the store", highlight=False
        )
    for round_ in done:
        for line in round_.wrong:
            progress.print(f"{round_.site} {round_.fault}: {line}", highlight=False)
    for cuts_ in cut:
        for line in cuts_.wrong:
            progress.print(f"power cut, {cuts_.system}: {line}", highlight=False)
    if any(row.lost or row.wrong for row in rows):
        sys.exit(1)


async def _strike(
    work: Path, rounds: int, served: int, seed: int, jobs: int, progress: Console
) -> list[Round]:
    if not rounds + served:
        return []
    all_rounds = Rounds(work)
    await all_rounds.prepare()
    kinds = len({site.kind for site in all_rounds.sites})
    progress.print(f"{len(all_rounds.sites)} system calls of {kinds} kinds on files of the store")
    return [
        *await all_rounds.run([Start.NEW, Start.LEFT], rounds, seed, jobs),
        *await all_rounds.run([Start.SERVED], served, seed, jobs),
    ]


async def _cut(
    work: Path, cuts: int, seed: int, careless: Careless | None, progress: Console
) -> list[Cuts]:
    try:
        return [
            await cut_power(system, work, cuts, seed, careless) for system in SYSTEMS if cuts > 0
        ]
    except NoDiskError as error:
        progress.print(f"no power was cut: {error}", style="yellow")
        return []


if __name__ == "__main__":
    main()
