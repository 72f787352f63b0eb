"""What providers keep of tenants' blobs, and this installation's secret."""

import sqlalchemy as sa
from alembic import op

revision = "reuse_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "files",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("digest", sa.String, primary_key=True),
        sa.Column("owner", sa.String, primary_key=True),
        sa.Column("use", sa.String, primary_key=True),
        sa.Column("original", sa.String, nullable=False),
        sa.Column("file", sa.String),
        sa.Column("name", sa.String),
        sa.Column("until", sa.Float, nullable=False),
        sa.Column("made_at", sa.Float, nullable=False),
    )
    op.create_index("files_until", "files", ["until"])
    op.create_table(
        "secrets",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("secret", sa.LargeBinary, nullable=False),
    )
