"""The tables of `reuse.sqlite`, as the newest migration leaves them.

They can be had again: what they say is found out anew by uploading once more. Times are Unix seconds.
Migrations in `migrations/` build the same tables; a test compares the two.
"""

from sqlalchemy import Column, Float, Index, Integer, LargeBinary, MetaData, String, Table

reuse_metadata = MetaData()

files = Table(
    "files",
    reuse_metadata,
    Column("tenant", String, primary_key=True),
    # Of the bytes that were uploaded.
    Column("digest", String, primary_key=True),
    # A keyed hash of the upstream's address and the credential: no key stands here.
    Column("owner", String, primary_key=True),
    # A keyed hash of what the provider was told beside the bytes: type, purpose and name.
    Column("use", String, primary_key=True),
    # What the tenant holds: the same digest, but where the bytes are a variant.
    Column("original", String, nullable=False),
    # What stands in messages. Without one bytes go until then, since the upload failed.
    Column("file", String),
    # What the provider's Files API calls it.
    Column("name", String),
    # Until when it is used, which is before it expires.
    Column("until", Float, nullable=False),
    Column("made_at", Float, nullable=False),
    Index("files_until", "until"),
)

# One row: 32 random bytes, which key the hashes above and the names that engines are told.
secrets = Table(
    "secrets",
    reuse_metadata,
    Column("id", Integer, primary_key=True),
    Column("secret", LargeBinary, nullable=False),
)
