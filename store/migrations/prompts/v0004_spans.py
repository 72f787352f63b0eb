"""A place for many messages in one row, so that a long list is read in few steps."""

import sqlalchemy as sa
from alembic import op

revision = "prompts_0004"
down_revision = "prompts_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Without a span a list is read message by message, until its next renewal makes them.
    op.add_column("prompts", sa.Column("span_parent", sa.String))
    op.add_column("prompts", sa.Column("span_checksum", sa.LargeBinary))
    op.add_column("prompts", sa.Column("span", sa.Text))
