"""Where a scrub is, in its one row."""

from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy import Connection, delete, insert, select

from .schema import scrubs

_ID: Final = 1
_KEPT_LENGTH: Final = len("sha256:") + 8
"""Of a million blobs one or two begin alike, and are checked again."""


@dataclass(frozen=True, slots=True)
class ScrubPlace:
    """One pass, as far as it has come."""

    started_at: float
    updated_at: float
    finished_at: float | None = None
    after: str = ""
    """The digest behind which it goes on."""
    checked_blobs: int = 0
    checked_bytes: int = 0
    damaged_blobs: int = 0

    def further(self, after: str, *, blobs: int, size: int, damaged: int) -> "ScrubPlace":
        """Return the place behind some more blobs."""
        return replace(
            self,
            after=after,
            checked_blobs=self.checked_blobs + blobs,
            checked_bytes=self.checked_bytes + size,
            damaged_blobs=self.damaged_blobs + damaged,
        )


def read_scrub(connection: Connection) -> ScrubPlace | None:
    """Return the last pass that was begun."""
    row = connection.execute(select(scrubs).where(scrubs.c.id == _ID)).one_or_none()
    if row is None:
        return None
    return ScrubPlace(
        started_at=row.started_at,
        updated_at=row.updated_at,
        finished_at=row.finished_at,
        after=row.after,
        checked_blobs=row.checked_blobs,
        checked_bytes=row.checked_bytes,
        damaged_blobs=row.damaged_blobs,
    )


def write_scrub(connection: Connection, place: ScrubPlace) -> None:
    """Write where the pass is, in place of what was written before.

    Of the digest so much is kept as leads back there: the blob may be one that is erased.
    """
    connection.execute(delete(scrubs).where(scrubs.c.id == _ID))
    connection.execute(
        insert(scrubs).values(
            id=_ID,
            started_at=place.started_at,
            updated_at=place.updated_at,
            finished_at=place.finished_at,
            after="" if place.finished_at is not None else place.after[:_KEPT_LENGTH],
            checked_blobs=place.checked_blobs,
            checked_bytes=place.checked_bytes,
            damaged_blobs=place.damaged_blobs,
        )
    )
