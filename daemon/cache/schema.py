"""The tables of the cache's index, as the newest migration leaves them.

What they say is of use only beside the files, and can be had again: an index that cannot be read is
removed, and the copies with it. Times are unix seconds, a digest is its text.
"""

from sqlalchemy import Column, Float, Index, Integer, LargeBinary, MetaData, String, Table

cache_metadata = MetaData()

copies = Table(
    "copies",
    cache_metadata,
    Column("digest", String, primary_key=True),
    Column("size", Integer, nullable=False),
    # What the file takes, as the file system counts it.
    Column("allocated", Integer, nullable=False),
    Column("checksums", LargeBinary, nullable=False),
    Column("sniffed_type", String),
    Column("hits", Integer, nullable=False),
    Column("last_used_at", Float, nullable=False),
    # When all of it was last read and matched its checksums.
    Column("verified_at", Float, nullable=False),
    Index("copies_last_used", "last_used_at"),
)

# Room set aside for blobs that are being fetched, so that processes do not fill it twice.
reservations = Table(
    "reservations",
    cache_metadata,
    Column("digest", String, primary_key=True),
    Column("bytes", Integer, nullable=False),
)

# One row: the sums over the tables above, changed with them, and the seed of the checksums.
sums = Table(
    "sums",
    cache_metadata,
    Column("id", Integer, primary_key=True),
    Column("seed", LargeBinary, nullable=False),
    Column("copies", Integer, nullable=False),
    Column("bytes", Integer, nullable=False),
    Column("allocated", Integer, nullable=False),
    Column("reserved", Integer, nullable=False),
)
