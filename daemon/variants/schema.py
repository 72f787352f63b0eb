"""The table of `variants.sqlite`, as the newest migration leaves it.

It can be had again: what it says is made anew from the originals. Times are Unix seconds.
Migrations in `migrations/` build the same table; a test compares the two.
"""

from sqlalchemy import Column, Float, Index, Integer, MetaData, String, Table

variants_metadata = MetaData()

variants = Table(
    "variants",
    variants_metadata,
    Column("tenant", String, primary_key=True),
    # What it was derived from: the original's digest, and the recipe's name.
    Column("original", String, primary_key=True),
    Column("recipe", String, primary_key=True),
    # Without one the original is sent.
    Column("digest", String),
    Column("size", Integer, nullable=False),
    Column("media_type", String, nullable=False),
    # Its longer side by the original's.
    Column("scale", Float, nullable=False),
    Column("used_at", Float, nullable=False),
    # When it is to be tried again; of what a passing trouble kept from being made.
    Column("until", Float),
    Index("variants_used", "used_at"),
    Index("variants_digest", "digest"),
)
