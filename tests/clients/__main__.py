"""`python -m tests.clients --install` makes the clients' environments; `--write` rewrites the table."""

import argparse
import asyncio

from .environments import make_all


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.clients", description=__doc__)
    wish = parser.add_mutually_exclusive_group(required=True)
    wish.add_argument("--install", action="store_true", help="make the clients' environments")
    wish.add_argument("--write", action="store_true", help="run the matrix; write docs/clients.md")
    if parser.parse_args().install:
        make_all()
        return
    from .matrix import run_matrix
    from .table import PAGE, render

    PAGE.write_text(render(asyncio.run(run_matrix())), "utf-8")


main()
