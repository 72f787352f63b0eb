"""Reading what was observed, beside the processes that write it. Blocking."""

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, create_engine, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from .errors import ObservationsUnreadableError
from .observation_schema import FIGURES, breaks, hours
from .observations import HOUR_SECONDS
from .observed_figures import Figures

_PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ObservedSum:
    """What one tenant sent to one upstream in one mode.

    `broke_at` says how many prefixes broke at which message, counted from 0 (-1: before all of them), and
    whose that was.
    """

    tenant: str
    upstream: str
    mode: str
    figures: Figures
    broke_at: Counter[tuple[int, str]] = field(default_factory=Counter[tuple[int, str]])


def read_observations(path: Path, since: float, until: float) -> Sequence[ObservedSum]:
    """Return the sums over the hours from that of `since` to that of `until`, in Unix seconds.

    Raises:
        ObservationsUnreadableError: there is no such file, or none of ours.
    """
    if not path.is_file():
        raise ObservationsUnreadableError(f"no {path}: nothing was observed here yet")
    engine = create_engine("sqlite://", creator=lambda: _connect(path), poolclass=NullPool)
    try:
        with engine.connect() as connection:
            return _read(connection, since // HOUR_SECONDS * HOUR_SECONDS, until)
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise ObservationsUnreadableError(f"{path} cannot be read: {error}") from error
    finally:
        engine.dispose()


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file for reading only.

    Without a log beside it nobody has it open; SQLite, left to itself, would make one and leave it.
    """
    is_in_use = path.with_name(f"{path.name}-wal").exists()
    flags = "mode=ro" if is_in_use else "mode=ro&immutable=1"
    uri = f"file:{quote(str(path.absolute()))}?{flags}"
    return sqlite3.connect(uri, uri=True, timeout=_PATIENCE_SECONDS)


def _read(connection: Connection, since: float, until: float) -> list[ObservedSum]:
    scope = (hours.c.tenant, hours.c.upstream, hours.c.mode)
    totals = select(*scope, *(func.sum(hours.c[name]) for name in FIGURES))
    asked = totals.where(hours.c.hour.between(since, until)).group_by(*scope).order_by(*scope)
    sums: dict[tuple[str, str, str], ObservedSum] = {}
    for row in connection.execute(asked):
        figures: Sequence[int] = row[len(scope) :]
        key = row.tenant, row.upstream, row.mode
        sums[key] = ObservedSum(*key, Figures(*figures))
    broken = select(breaks).where(breaks.c.hour.between(since, until))
    for row in connection.execute(broken):
        sums[row.tenant, row.upstream, row.mode].broke_at[row.message, row.role] += row[-1]
    return list(sums.values())
