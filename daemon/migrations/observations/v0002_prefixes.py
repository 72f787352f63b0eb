"""Conversations, what their breaks cost, and the tokens that providers counted; whose message broke."""

import sqlalchemy as sa
from alembic import op

revision = "observations_0002"
down_revision = "observations_0001"
branch_labels = None
depends_on = None

_FIGURES = (
    "conversations",
    "broken_conversations",
    "lost_bytes",
    "prompt_tokens",
    "cached_tokens",
)


def upgrade() -> None:
    for name in _FIGURES:
        op.add_column("hours", sa.Column(name, sa.Integer, nullable=False, server_default="0"))
    op.rename_table("breaks", "breaks_before")
    op.create_table(
        "breaks",
        sa.Column("hour", sa.Integer, primary_key=True),
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("upstream", sa.String, primary_key=True),
        sa.Column("mode", sa.String, primary_key=True),
        sa.Column("message", sa.Integer, primary_key=True),
        sa.Column("role", sa.String, primary_key=True),
        sa.Column("count", sa.Integer, nullable=False),
    )
    op.execute(
        "INSERT INTO breaks (hour, tenant, upstream, mode, message, role, count) "
        "SELECT hour, tenant, upstream, mode, message, '', count FROM breaks_before"
    )
    op.drop_table("breaks_before")
