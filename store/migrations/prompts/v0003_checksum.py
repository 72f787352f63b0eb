"""A checksum for each message, so that one that rots is not taken for what was kept."""

import sqlalchemy as sa
from alembic import op

from coatcheck.store.prompt_checksum import prompt_checksum

revision = "prompts_0003"
down_revision = "prompts_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A table that is empty at first gets its default changed by no insert of ours.
    op.add_column(
        "prompts",
        sa.Column("checksum", sa.LargeBinary, nullable=False, server_default=sa.text("''")),
    )
    connection = op.get_bind()
    named = "tenant, dialect, digest, parent, depth, text, list_bytes, blobs"
    for row in connection.execute(sa.text(f"SELECT rowid, {named} FROM prompts")).all():
        connection.execute(
            sa.text("UPDATE prompts SET checksum = :checksum WHERE rowid = :at"),
            {"checksum": prompt_checksum(*row[1:]), "at": row[0]},
        )
