"""Copies, reservations, and their sums."""

import sqlalchemy as sa
from alembic import op

revision = "cache_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "copies",
        sa.Column("digest", sa.String, primary_key=True),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("allocated", sa.Integer, nullable=False),
        sa.Column("checksums", sa.LargeBinary, nullable=False),
        sa.Column("sniffed_type", sa.String),
        sa.Column("hits", sa.Integer, nullable=False),
        sa.Column("last_used_at", sa.Float, nullable=False),
        sa.Column("verified_at", sa.Float, nullable=False),
    )
    op.create_index("copies_last_used", "copies", ["last_used_at"])
    op.create_table(
        "reservations",
        sa.Column("digest", sa.String, primary_key=True),
        sa.Column("bytes", sa.Integer, nullable=False),
    )
    op.create_table(
        "sums",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("seed", sa.LargeBinary, nullable=False),
        sa.Column("copies", sa.Integer, nullable=False),
        sa.Column("bytes", sa.Integer, nullable=False),
        sa.Column("allocated", sa.Integer, nullable=False),
        sa.Column("reserved", sa.Integer, nullable=False),
    )
