"""`serve`: everything in one process."""

import asyncio
import logging
import sys
from pathlib import Path

import click

from coatcheck.store import StoreError
from coatcheck.web import WebError

from .errors import ServeError
from .service import serve as run_service
from .settings import load_settings


@click.command()
@click.option("--host", help="Address to listen on. [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port; 0 picks a free one. [default: 8420]")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Data folder. [default: ./coatcheck-data]"
)
@click.option("--config", type=click.Path(path_type=Path), help="Settings. [./coatcheck.toml]")
def serve(host: str | None, port: int | None, data: Path | None, config: Path | None) -> None:
    """Serve the store, the gateway and the pages, from one data folder.

    Without keys it listens on loopback only. Without any [[upstream]] in the settings, every
    model is the built-in echo. SIGTERM lets running requests end.
    """
    given = {"host": host, "port": port, "data": data}
    settings = load_settings(
        config, {key: value for key, value in given.items() if value is not None}
    )
    logging.basicConfig(
        level=settings.log_level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        asyncio.run(run_service(settings, _announce))
    except (StoreError, WebError) as error:
        raise ServeError(str(error)) from error


def _announce(url: str) -> None:
    click.echo(f"coatcheck: listening on {url}")
    sys.stdout.flush()
