"""The tables, as the newest migration leaves them.

The index says which tenant holds which blob and why; the prompts have a file of their own,
because losing the last of them costs little and syncing each would cost much. Times are unix
seconds. A digest is its text. Migrations in `migrations/` build the same tables step by step;
a test compares the two.
"""

from enum import StrEnum

from sqlalchemy import (
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

index_metadata = MetaData()
prompts_metadata = MetaData()


class BlobState(StrEnum):
    """Where a blob stands between its upload and its end."""

    LIVE = "live"
    CONDEMNED = "condemned"
    """Nothing holds it; the sweep will remove it unless an upload revives it."""
    QUARANTINED = "quarantined"
    """Its bytes failed their checksum; it answers as not found until an upload heals it."""


class HoldKind(StrEnum):
    """Why a grant is alive."""

    LEASE = "lease"
    PIN = "pin"
    FILE = "file"
    PROMPT = "prompt"


tenants = Table(
    "tenants",
    index_metadata,
    Column("tenant", String, primary_key=True),
    Column("created_at", Float, nullable=False),
)

seeds = Table(
    "seeds",
    index_metadata,
    Column("version", Integer, primary_key=True),
    Column("seed", LargeBinary, nullable=False),
    Column("created_at", Float, nullable=False),
)

blobs = Table(
    "blobs",
    index_metadata,
    Column("digest", String, primary_key=True),
    Column("size", Integer, nullable=False),
    Column("sniffed_type", String),
    Column("width", Integer),
    Column("height", Integer),
    Column("frames", Integer),
    Column("checksums", LargeBinary, nullable=False),
    # No foreign key: checksums may outlive their seed, and then the digest decides.
    Column("seed_version", Integer, nullable=False),
    Column("state", String, nullable=False),
    # Counts the writes of the bytes, so that acting on a reading of older bytes can be refused.
    Column("generation", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    CheckConstraint("state IN ('live', 'condemned', 'quarantined')", name="blobs_state"),
)

grants = Table(
    "grants",
    index_metadata,
    Column("tenant", String, ForeignKey("tenants.tenant"), primary_key=True),
    Column("digest", String, ForeignKey("blobs.digest"), primary_key=True),
    # As declared; null when the tenant declared none.
    Column("media_type", String),
    Column("created_at", Float, nullable=False),
    Index("grants_newest", "tenant", "created_at", "digest"),
    Index("grants_digest", "digest"),
)

holds = Table(
    "holds",
    index_metadata,
    Column("tenant", String, primary_key=True),
    Column("digest", String, primary_key=True),
    Column("kind", String, primary_key=True),
    # A file's id or a prompt's digest; empty for the one lease and the one pin.
    Column("name", String, primary_key=True),
    Column("purpose", String),
    # Null when it does not expire.
    Column("expires_at", Float),
    Column("created_at", Float, nullable=False),
    ForeignKeyConstraint(
        ["tenant", "digest"], ["grants.tenant", "grants.digest"], ondelete="CASCADE"
    ),
    CheckConstraint("kind IN ('lease', 'pin', 'file', 'prompt')", name="holds_kind"),
)

keys = Table(
    "keys",
    index_metadata,
    Column("id", String, primary_key=True),
    # SHA-256 of the secret part.
    Column("secret_hash", LargeBinary, nullable=False),
    # Null for a daemon's, which asks for any tenant. No foreign key: a tenant begins to exist with
    # its first blob.
    Column("tenant", String),
    # Their names, with spaces between.
    Column("scopes", String, nullable=False),
    Column("label", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
    Column("last_used_at", Float),
)

prompts = Table(
    "prompts",
    prompts_metadata,
    Column("tenant", String, primary_key=True),
    Column("dialect", String, primary_key=True),
    Column("digest", String, primary_key=True),
    # The root's digest for a first message, which has no row.
    Column("parent", String, nullable=False),
    # How many messages the list has up to this one.
    Column("depth", Integer, nullable=False),
    Column("text", Text, nullable=False),
    # The bytes of text that the list has up to and with this message.
    Column("list_bytes", Integer, nullable=False),
    # The digests of the blobs that the message names, separated by spaces.
    Column("blobs", String, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    # Of all of the row that never changes; `prompt_checksum.py`.
    Column("checksum", LargeBinary, nullable=False, server_default=text("''")),
    Index("prompts_expiry", "expires_at"),
)
