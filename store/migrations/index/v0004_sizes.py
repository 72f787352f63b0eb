"""Sums that follow a blob's size: a row that was made without reading the bytes may have a wrong one.

The second statement of `blobs_added` changes nothing: an upload does as much for a blob that is new
as for one that is known.
"""

from alembic import op

revision = "index_0004"
down_revision = "index_0003"
branch_labels = None
depends_on = None

_TRIGGERS = (
    """
    CREATE TRIGGER blobs_added AFTER INSERT ON blobs BEGIN
      UPDATE blob_totals SET
        blobs = blobs + (state = NEW.state),
        bytes = bytes + (state = NEW.state) * NEW.size;
      UPDATE tenants SET grant_bytes = grant_bytes + NEW.size - NEW.size
      WHERE NEW.size != NEW.size
        AND tenant IN (SELECT tenant FROM grants WHERE digest = NEW.digest);
    END
    """,
    """
    CREATE TRIGGER blobs_changed AFTER UPDATE OF state, size ON blobs BEGIN
      UPDATE blob_totals SET
        blobs = blobs + (state = NEW.state) - (state = OLD.state),
        bytes = bytes + (state = NEW.state) * NEW.size - (state = OLD.state) * OLD.size;
      UPDATE tenants SET grant_bytes = grant_bytes + NEW.size - OLD.size
      WHERE NEW.size != OLD.size
        AND tenant IN (SELECT tenant FROM grants WHERE digest = NEW.digest);
    END
    """,
)


def upgrade() -> None:
    for name in ("blobs_added", "blobs_changed"):
        op.execute(f"DROP TRIGGER {name}")
    for trigger in _TRIGGERS:
        op.execute(trigger)
