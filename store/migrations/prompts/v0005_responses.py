"""Ids of responses, each naming the kept list that it ended."""

import sqlalchemy as sa
from alembic import op

revision = "prompts_0005"
down_revision = "prompts_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "responses",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("dialect", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("answered", sa.Integer, nullable=False),
        sa.Column("upstream", sa.String, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("end_user", sa.String),
        sa.ForeignKeyConstraint(
            ["tenant", "dialect", "digest"],
            ["prompts.tenant", "prompts.dialect", "prompts.digest"],
            ondelete="CASCADE",
        ),
    )
    op.create_index("responses_prompt", "responses", ["tenant", "dialect", "digest"])
    op.create_index(
        "responses_end_user",
        "responses",
        ["tenant", "end_user"],
        sqlite_where=sa.text("end_user IS NOT NULL"),
    )
