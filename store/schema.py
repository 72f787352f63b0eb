"""The tables, as the newest migration leaves them.

The index says which tenant holds which blob and why; the prompts have a file of their own,
because losing the last of them costs little and syncing each would cost much. Times are unix
seconds. A digest is its text. Migrations in `migrations/` build the same tables step by step;
a test compares the two.

Sums are kept by triggers of the index, so that no path that adds or removes rows can forget them:
`blob_totals` by the state of blobs, `tenants.grants` and `tenants.grant_bytes` by grants.
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
    # Its grants that were not swept yet, and the sizes of their blobs together: its logical bytes.
    Column("grants", Integer, nullable=False, server_default="0"),
    Column("grant_bytes", Integer, nullable=False, server_default="0"),
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
    # Since when it is in this state.
    Column("state_since", Float, nullable=False, server_default="0"),
    CheckConstraint("state IN ('live', 'condemned', 'quarantined')", name="blobs_state"),
    # What the sweep looks at; next to nothing of a large store.
    Index("blobs_leaving", "state", "state_since", sqlite_where=text("state != 'live'")),
    Index("blobs_seed", "seed_version"),
)

blob_totals = Table(
    "blob_totals",
    index_metadata,
    Column("state", String, primary_key=True),
    Column("blobs", Integer, nullable=False),
    Column("bytes", Integer, nullable=False),
)

grants = Table(
    "grants",
    index_metadata,
    Column("tenant", String, ForeignKey("tenants.tenant"), primary_key=True),
    Column("digest", String, ForeignKey("blobs.digest"), primary_key=True),
    # As declared; null when the tenant declared none.
    Column("media_type", String),
    Column("created_at", Float, nullable=False),
    # Whether any upload of it named no end user: then erasing end users leaves it alone.
    Column("unnamed", Integer, nullable=False, server_default="1"),
    Index("grants_newest", "tenant", "created_at", "digest"),
    Index("grants_digest", "digest"),
)

# Whom a tenant uploaded a blob for, where it said so.
end_users = Table(
    "end_users",
    index_metadata,
    Column("tenant", String, primary_key=True),
    Column("digest", String, primary_key=True),
    Column("end_user", String, primary_key=True),
    Column("created_at", Float, nullable=False),
    ForeignKeyConstraint(
        ["tenant", "digest"], ["grants.tenant", "grants.digest"], ondelete="CASCADE"
    ),
    # With the digest, or SQLite reads all of the tenant's rows instead.
    Index("end_users_blobs", "tenant", "end_user", "digest"),
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
    # A file's name, as its owner calls it.
    Column("filename", String),
    ForeignKeyConstraint(
        ["tenant", "digest"], ["grants.tenant", "grants.digest"], ondelete="CASCADE"
    ),
    CheckConstraint("kind IN ('lease', 'pin', 'file', 'prompt')", name="holds_kind"),
    Index("holds_expiry", "expires_at", sqlite_where=text("expires_at IS NOT NULL")),
    # A file's id is found without its digest.
    Index("holds_files", "name", sqlite_where=text("kind = 'file'")),
    # And a tenant's files are listed by their age.
    Index("holds_files_newest", "tenant", "created_at", "name", sqlite_where=text("kind = 'file'")),
)

# Blobs being received in parts, over more than one request.
uploads = Table(
    "uploads",
    index_metadata,
    # 128 random bits, in the URL of the upload.
    Column("id", String, primary_key=True),
    Column("tenant", String, nullable=False),
    # Bytes in all; null while the sender has not said.
    Column("length", Integer),
    # How many bytes are on the disk, synced.
    Column("offset", Integer, nullable=False),
    Column("media_type", String),
    Column("promised", String),
    # What the sender says of it, as it was sent.
    Column("metadata", String),
    Column("end_user", String),
    # The blob that it became; null until then.
    Column("digest", String),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    # Those that are not finished, which is few rows; and all, as they expire.
    Index("uploads_open", "tenant", sqlite_where=text("digest IS NULL")),
    Index("uploads_finished", "tenant", "expires_at", sqlite_where=text("digest IS NOT NULL")),
    Index("uploads_expiry", "expires_at", "id"),
)

# The walk over all blobs that verifies them, so that it goes on where it was; one row.
scrubs = Table(
    "scrubs",
    index_metadata,
    Column("id", Integer, primary_key=True),
    Column("started_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("finished_at", Float),
    # The digest behind which it goes on.
    Column("after", String, nullable=False),
    Column("checked_blobs", Integer, nullable=False),
    Column("checked_bytes", Integer, nullable=False),
    Column("damaged_blobs", Integer, nullable=False),
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
    # Whom the turn was for; null where its sender did not say, or several had the same message.
    Column("end_user", String),
    # Of all of the row that never changes; `prompt_checksum.py`.
    Column("checksum", LargeBinary, nullable=False, server_default=text("''")),
    # In one row of many: the texts of those messages, what they continue; `prompt_span.py`. At the
    # end of the row, where what is not asked for is not read.
    Column("span_parent", String),
    Column("span_checksum", LargeBinary),
    Column("span", Text),
    Index("prompts_expiry", "expires_at"),
    # What follows a message that is erased.
    Index("prompts_parent", "tenant", "dialect", "parent"),
    Index("prompts_end_user", "tenant", "end_user", sqlite_where=text("end_user IS NOT NULL")),
)

# What the responses of upstreams are called, each naming the kept list that it ended.
responses = Table(
    "responses",
    prompts_metadata,
    Column("tenant", String, primary_key=True),
    # As the upstream gave it.
    Column("id", String, primary_key=True),
    Column("dialect", String, nullable=False),
    # The list with the answer at its end.
    Column("digest", String, nullable=False),
    # How many messages at the list's end are the answer.
    Column("answered", Integer, nullable=False),
    # Whose answer it was, by the name that a daemon's settings give it.
    Column("upstream", String, nullable=False),
    Column("created_at", Float, nullable=False),
    # Whom the turn was for; null where its sender did not say.
    Column("end_user", String),
    # So it ends with its list, however that ends: expired, erased or rotten.
    ForeignKeyConstraint(
        ["tenant", "dialect", "digest"],
        ["prompts.tenant", "prompts.dialect", "prompts.digest"],
        ondelete="CASCADE",
    ),
    Index("responses_prompt", "tenant", "dialect", "digest"),
    Index("responses_end_user", "tenant", "end_user", sqlite_where=text("end_user IS NOT NULL")),
)
