"""Prompts, one row for each message."""

import sqlalchemy as sa
from alembic import op

revision = "prompts_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "prompts",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("dialect", sa.String, primary_key=True),
        sa.Column("digest", sa.String, primary_key=True),
        sa.Column("parent", sa.String, nullable=False),
        sa.Column("depth", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("list_bytes", sa.Integer, nullable=False),
        sa.Column("blobs", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
    )
    op.create_index("prompts_expiry", "prompts", ["expires_at"])
