"""Sums by the hour, breaks by their place, marks, and their salt."""

import sqlalchemy as sa
from alembic import op

revision = "observations_0001"
down_revision = None
branch_labels = None
depends_on = None

_FIGURES = (
    "requests",
    "turns",
    "dropped",
    "bytes_up",
    "bytes_down",
    "repeated_bytes",
    "images",
    "image_bytes",
    "over_1_mb",
    "over_6_mb",
    "over_20_mb",
    "breaks",
    "on_bytes",
)


def _scope() -> list[sa.Column[int] | sa.Column[str]]:
    return [
        sa.Column("hour", sa.Integer, primary_key=True),
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("upstream", sa.String, primary_key=True),
        sa.Column("mode", sa.String, primary_key=True),
    ]


def upgrade() -> None:
    op.create_table(
        "hours",
        *_scope(),
        *(sa.Column(name, sa.Integer, nullable=False) for name in _FIGURES),
    )
    op.create_table(
        "breaks",
        *_scope(),
        sa.Column("message", sa.Integer, primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
    )
    op.create_table(
        "marks",
        sa.Column("mark", sa.LargeBinary, primary_key=True),
        sa.Column("seen_at", sa.Float, nullable=False),
        sa.Column("depth", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_marks_seen_at", "marks", ["seen_at"])
    op.create_table(
        "salts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("salt", sa.LargeBinary, nullable=False),
    )
