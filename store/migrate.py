"""Brings a database to the newest schema, whatever schema it has.

The migrations are part of the package; no settings file of the working folder is read.
"""

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from .errors import SchemaError

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
"""Where the store's own histories lie, each in a folder of its name."""

# Alembic's `context` and `op` are one per process, so two databases cannot migrate at once, and
# what keeps them apart has to be one per process too.
_alembic = threading.Lock()


def migrate(
    connection: Connection, history: str, *, folder: Path = MIGRATIONS, to: str = "head"
) -> None:
    """Upgrade to a revision of `history`, the name of a folder of migrations. Blocking.

    `folder` is where that folder lies. Does nothing when the database is there already.

    Raises:
        SchemaError: its schema is newer than this program, or not ours.
    """
    config = Config()
    config.set_main_option("script_location", _escaped(MIGRATIONS))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", _escaped(folder / history))
    config.attributes["connection"] = connection
    try:
        with _alembic:
            command.upgrade(config, to)
    except CommandError as error:
        raise SchemaError(
            f"cannot bring the {history} to this program's schema: {error}"
        ) from error


def _escaped(path: Path) -> str:
    return str(path).replace("%", "%%")
