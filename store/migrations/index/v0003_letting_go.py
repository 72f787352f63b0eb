"""What letting go of blobs takes: states with their time, sums, end users, uploads in parts, scrubs."""

import sqlalchemy as sa
from alembic import op

revision = "index_0003"
down_revision = "index_0002"
branch_labels = None
depends_on = None

_STATES = ("live", "condemned", "quarantined")
_TRIGGERS = (
    # All three rows each time: an upload of a blob that is known does what one of a new blob does.
    """
    CREATE TRIGGER blobs_added AFTER INSERT ON blobs BEGIN
      UPDATE blob_totals SET
        blobs = blobs + (state = NEW.state),
        bytes = bytes + (state = NEW.state) * NEW.size;
    END
    """,
    """
    CREATE TRIGGER blobs_changed AFTER UPDATE OF state ON blobs BEGIN
      UPDATE blob_totals SET
        blobs = blobs + (state = NEW.state) - (state = OLD.state),
        bytes = bytes + (state = NEW.state) * NEW.size - (state = OLD.state) * OLD.size;
    END
    """,
    """
    CREATE TRIGGER blobs_removed AFTER DELETE ON blobs BEGIN
      UPDATE blob_totals SET
        blobs = blobs - (state = OLD.state),
        bytes = bytes - (state = OLD.state) * OLD.size;
    END
    """,
    """
    CREATE TRIGGER grants_added AFTER INSERT ON grants BEGIN
      UPDATE tenants SET grants = grants + 1, grant_bytes = grant_bytes
        + (SELECT size FROM blobs WHERE digest = NEW.digest) WHERE tenant = NEW.tenant;
    END
    """,
    """
    CREATE TRIGGER grants_removed AFTER DELETE ON grants BEGIN
      UPDATE tenants SET grants = grants - 1, grant_bytes = grant_bytes
        - (SELECT size FROM blobs WHERE digest = OLD.digest) WHERE tenant = OLD.tenant;
    END
    """,
)


def upgrade() -> None:
    _widen_tables()
    _add_tables()
    _begin_sums()


def _widen_tables() -> None:
    op.add_column("tenants", sa.Column("grants", sa.Integer, nullable=False, server_default="0"))
    op.add_column(
        "tenants", sa.Column("grant_bytes", sa.Integer, nullable=False, server_default="0")
    )
    op.add_column("blobs", sa.Column("state_since", sa.Float, nullable=False, server_default="0"))
    op.create_index(
        "blobs_leaving", "blobs", ["state", "state_since"], sqlite_where=sa.text("state != 'live'")
    )
    op.create_index("blobs_seed", "blobs", ["seed_version"])
    op.add_column("grants", sa.Column("unnamed", sa.Integer, nullable=False, server_default="1"))
    op.add_column("holds", sa.Column("filename", sa.String))
    op.create_index(
        "holds_expiry", "holds", ["expires_at"], sqlite_where=sa.text("expires_at IS NOT NULL")
    )
    op.create_index("holds_files", "holds", ["name"], sqlite_where=sa.text("kind = 'file'"))
    op.create_index(
        "holds_files_newest",
        "holds",
        ["tenant", "created_at", "name"],
        sqlite_where=sa.text("kind = 'file'"),
    )


def _add_tables() -> None:
    op.create_table(
        "blob_totals",
        sa.Column("state", sa.String, primary_key=True),
        sa.Column("blobs", sa.Integer, nullable=False),
        sa.Column("bytes", sa.Integer, nullable=False),
    )
    op.create_table(
        "end_users",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("digest", sa.String, primary_key=True),
        sa.Column("end_user", sa.String, primary_key=True),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "digest"], ["grants.tenant", "grants.digest"], ondelete="CASCADE"
        ),
    )
    op.create_index("end_users_blobs", "end_users", ["tenant", "end_user", "digest"])
    op.create_table(
        "uploads",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("tenant", sa.String, nullable=False),
        sa.Column("length", sa.Integer),
        sa.Column("offset", sa.Integer, nullable=False),
        sa.Column("media_type", sa.String),
        sa.Column("promised", sa.String),
        sa.Column("metadata", sa.String),
        sa.Column("end_user", sa.String),
        sa.Column("digest", sa.String),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("expires_at", sa.Float, nullable=False),
    )
    op.create_index("uploads_open", "uploads", ["tenant"], sqlite_where=sa.text("digest IS NULL"))
    op.create_index(
        "uploads_finished",
        "uploads",
        ["tenant", "expires_at"],
        sqlite_where=sa.text("digest IS NOT NULL"),
    )
    op.create_index("uploads_expiry", "uploads", ["expires_at", "id"])
    op.create_table(
        "scrubs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("started_at", sa.Float, nullable=False),
        sa.Column("updated_at", sa.Float, nullable=False),
        sa.Column("finished_at", sa.Float),
        sa.Column("after", sa.String, nullable=False),
        sa.Column("checked_blobs", sa.Integer, nullable=False),
        sa.Column("checked_bytes", sa.Integer, nullable=False),
        sa.Column("damaged_blobs", sa.Integer, nullable=False),
    )


def _begin_sums() -> None:
    # What was let go of before there was a sweep; its review begins with this upgrade.
    op.execute(
        "UPDATE blobs SET state = 'condemned', state_since = CAST(strftime('%s', 'now') AS REAL) "
        "WHERE state = 'live' AND NOT EXISTS (SELECT 1 FROM grants WHERE digest = blobs.digest)"
    )
    for state in _STATES:
        op.execute(
            "INSERT INTO blob_totals (state, blobs, bytes) "
            f"SELECT '{state}', count(*), coalesce(sum(size), 0) FROM blobs WHERE state = '{state}'"
        )
    op.execute(
        "UPDATE tenants SET (grants, grant_bytes) = (SELECT count(*), coalesce(sum(size), 0) "
        "FROM grants JOIN blobs USING (digest) WHERE grants.tenant = tenants.tenant)"
    )
    for trigger in _TRIGGERS:
        op.execute(trigger)
