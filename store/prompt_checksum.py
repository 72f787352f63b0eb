"""The checksum of a kept message's row: a guard against bit rot, as a blob's pieces have one.

Without a seed: nobody can put a row of their choice into the table.
"""

from coatcheck.protocol import piece_checksum

_NO_SEED = 0


def prompt_checksum(
    tenant: str,
    dialect: str,
    digest: str,
    parent: str,
    depth: int,
    text: str,
    list_bytes: int,
    blobs: str,
) -> bytes:
    """Return the checksum of all that never changes in a row."""
    fields = (tenant, dialect, digest, parent, str(depth), str(list_bytes), blobs, text)
    return piece_checksum("\n".join(fields).encode("utf-8", "surrogatepass"), _NO_SEED)
