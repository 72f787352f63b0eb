"""Tenants, seeds, blobs, grants and holds."""

import sqlalchemy as sa
from alembic import op

revision = "index_0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tenants",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_table(
        "seeds",
        sa.Column("version", sa.Integer, primary_key=True),
        sa.Column("seed", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_table(
        "blobs",
        sa.Column("digest", sa.String, primary_key=True),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("sniffed_type", sa.String),
        sa.Column("width", sa.Integer),
        sa.Column("height", sa.Integer),
        sa.Column("frames", sa.Integer),
        sa.Column("checksums", sa.LargeBinary, nullable=False),
        sa.Column("seed_version", sa.Integer, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.CheckConstraint("state IN ('live', 'condemned', 'quarantined')", name="blobs_state"),
    )
    op.create_table(
        "grants",
        sa.Column("tenant", sa.String, sa.ForeignKey("tenants.tenant"), primary_key=True),
        sa.Column("digest", sa.String, sa.ForeignKey("blobs.digest"), primary_key=True),
        sa.Column("media_type", sa.String),
        sa.Column("created_at", sa.Float, nullable=False),
    )
    op.create_index("grants_newest", "grants", ["tenant", "created_at", "digest"])
    op.create_index("grants_digest", "grants", ["digest"])
    op.create_table(
        "holds",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("digest", sa.String, primary_key=True),
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("purpose", sa.String),
        sa.Column("expires_at", sa.Float),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "digest"], ["grants.tenant", "grants.digest"], ondelete="CASCADE"
        ),
        sa.CheckConstraint("kind IN ('lease', 'pin', 'file', 'prompt')", name="holds_kind"),
    )
