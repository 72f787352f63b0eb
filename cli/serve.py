"""`serve`: everything in one process."""

import asyncio
import logging
import sys

import click

from coatcheck.store import StoreError
from coatcheck.web import WebError

from .assembly import assemble_serve
from .errors import ServeError
from .service import run
from .settings_flags import Flags, settings_flags


@click.command()
@settings_flags
def serve(flags: Flags) -> None:
    """Serve the store, the gateway and the pages, from one data folder.

    Without keys it listens on loopback only. Without any [[upstream]] in the settings, every
    model is the built-in echo. SIGTERM lets running requests end; a second one does not.
    """
    settings = flags.load()
    logging.basicConfig(
        level=settings.log_level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        asyncio.run(run(assemble_serve, settings, _announce))
    except (StoreError, WebError) as error:
        raise ServeError(str(error)) from error


def _announce(url: str) -> None:
    click.echo(f"coatcheck: listening on {url}")
    sys.stdout.flush()
