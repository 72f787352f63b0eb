"""`python -m tests.dify` prints what a turn of Dify's costs: each SDK, form and way. It takes minutes."""

import tempfile
from pathlib import Path

import click

from .loop_table import SDKS, head, line_of, measure
from .peak import COLUMNS, measure_peaks


@click.command()
@click.option("--peaks", is_flag=True, help="The plugin's peak memory for 15 images instead.")
def main(peaks: bool) -> None:
    """Print the table row by row."""
    with tempfile.TemporaryDirectory() as folder:
        if peaks:
            click.echo(head(COLUMNS))
            for cells in measure_peaks(Path(folder), SDKS):
                click.echo(line_of(cells))
        else:
            click.echo(head())
            for row in measure(Path(folder)):
                click.echo(line_of(row.cells()))


main()
