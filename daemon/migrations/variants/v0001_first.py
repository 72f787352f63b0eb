"""What was made of which original for whom."""

import sqlalchemy as sa
from alembic import op

revision = "variants_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "variants",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("original", sa.String, primary_key=True),
        sa.Column("recipe", sa.String, primary_key=True),
        sa.Column("digest", sa.String),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("media_type", sa.String, nullable=False),
        sa.Column("scale", sa.Float, nullable=False),
        sa.Column("used_at", sa.Float, nullable=False),
        sa.Column("until", sa.Float),
    )
    op.create_index("variants_used", "variants", ["used_at"])
    op.create_index("variants_digest", "variants", ["digest"])
