"""The tables of `observations.db`, as the newest migration leaves them.

Sums by the hour, and marks. Times are Unix seconds; an hour is named by its first second.
Migrations in `migrations/` build the same tables; a test compares the two.
"""

from dataclasses import fields

from sqlalchemy import Column, Float, Integer, LargeBinary, MetaData, String, Table

from .observed_figures import Figures

observations_metadata = MetaData()

FIGURES = tuple(field.name for field in fields(Figures))


def _scope() -> list[Column[int] | Column[str]]:
    return [
        Column("hour", Integer, primary_key=True),
        Column("tenant", String, primary_key=True),
        Column("upstream", String, primary_key=True),
        Column("mode", String, primary_key=True),
    ]


hours = Table(
    "hours",
    observations_metadata,
    *_scope(),
    *(Column(name, Integer, nullable=False) for name in FIGURES),
)

# How many prefixes broke at which message.
breaks = Table(
    "breaks",
    observations_metadata,
    *_scope(),
    Column("message", Integer, primary_key=True),
    # Whose message it was; or of -1, which value before the messages changed.
    Column("role", String, primary_key=True),
    Column("count", Integer, nullable=False),
)

marks = Table(
    "marks",
    observations_metadata,
    Column("mark", LargeBinary, primary_key=True),
    Column("seen_at", Float, nullable=False, index=True),
    # Of a prefix, how many messages it has.
    Column("depth", Integer, nullable=False),
    sqlite_with_rowid=False,
)

# One row: what this installation's marks are salted with.
salts = Table(
    "salts",
    observations_metadata,
    Column("id", Integer, primary_key=True),
    Column("salt", LargeBinary, nullable=False),
)
