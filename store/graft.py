"""A damaged index with the first pages of a new one, where its own cannot be understood.

The first page says what tables there are and where they begin. If it or one like it is lost, all tables
are lost with it, though nothing has happened to them. A new index of the same schema was made by the same
steps, so its tables begin at the same pages. If they do not, what is read makes no sense, and is not
taken.
"""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

_PAGE_COUNT_AT: Final = 28
_FREE_PAGES_AT: Final = 32
"""Where in the header the number of pages is, and the first free page with their number; the file
format of SQLite, section 1.3."""


def graft(old: Path, new: Path, target: Path) -> None:
    """Write a copy of `old` with the pages of `new` that describe tables. Blocking.

    `new` is empty and nobody writes to it.

    Raises:
        OSError: the disk refused.
        sqlite3.Error: `new` cannot be read.
    """
    page_bytes, places = _describing_pages(new)
    with new.open("rb") as source:
        fresh = source.read()
    shutil.copyfile(old, target)
    with target.open("r+b") as file:
        count = file.seek(0, 2) // page_bytes
        for number in places:
            begin = (number - 1) * page_bytes
            file.seek(begin)
            file.write(fresh[begin : begin + page_bytes])
        file.seek(_PAGE_COUNT_AT)
        file.write(max(count, *places).to_bytes(4))
        file.seek(_FREE_PAGES_AT)
        file.write(bytes(8))


def _describing_pages(path: Path) -> tuple[int, list[int]]:
    """Return the size of a page, and the numbers of those at which no table or index begins."""
    with closing(sqlite3.connect(path)) as connection:
        page_bytes = int(connection.execute("PRAGMA page_size").fetchone()[0])
        count = int(connection.execute("PRAGMA page_count").fetchone()[0])
        roots = {row[0] for row in connection.execute("SELECT rootpage FROM sqlite_schema")}
    return page_bytes, [number for number in range(1, count + 1) if number not in roots]
