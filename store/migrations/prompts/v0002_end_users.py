"""Whom a kept message was for."""

import sqlalchemy as sa
from alembic import op

revision = "prompts_0002"
down_revision = "prompts_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("prompts", sa.Column("end_user", sa.String))
    op.create_index(
        "prompts_end_user",
        "prompts",
        ["tenant", "end_user"],
        sqlite_where=sa.text("end_user IS NOT NULL"),
    )
    op.create_index("prompts_parent", "prompts", ["tenant", "dialect", "parent"])
