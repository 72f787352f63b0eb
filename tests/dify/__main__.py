"""`python -m tests.dify` prints what a turn of Dify's costs: each SDK, form and way. It takes minutes."""

import tempfile
from pathlib import Path

from .loop_table import head, line_of, measure


def main() -> None:
    """Print the table row by row."""
    print(head())
    with tempfile.TemporaryDirectory() as folder:
        for row in measure(Path(folder)):
            print(line_of(row.cells()), flush=True)


main()
