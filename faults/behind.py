"""What the files of a data folder say, looked at behind the store's back."""

import hashlib
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path

from .promised import Promised

_DATABASES = ("index.sqlite", "prompts.sqlite")


def of_erased(folder: Path, promised: Promised) -> Iterator[str]:
    """Look for what was erased, before the store is opened anew."""
    names = [end_user.encode() for _, end_user in promised.erased]
    for path in sorted(folder.glob("*.sqlite*")) if names else ():
        data = path.read_bytes()
        if any(name in data for name in names):
            yield f"LOST: that an end user was erased, whose name is in {path.name}"
    for upload_id in promised.erased_uploads:
        if (folder / "uploads" / upload_id).exists():
            yield f"LOST: that the upload {upload_id} was erased, whose bytes are there"
    held = {digest for _, digest in (*promised.blobs, *promised.maybe)}
    for _, digest in promised.erased_blobs:
        for path in folder.rglob(digest.removeprefix("sha256:")):
            if digest not in held:
                yield f"LOST: that {path.name} was erased, which is in {path.parent}"


def of_uploads(folder: Path) -> Iterator[str]:
    """Compare the parts of uploads with their rows, after the store was opened."""
    with closing(sqlite3.connect(folder / "index.sqlite")) as database:
        rows = database.execute("SELECT id, offset FROM uploads WHERE digest IS NULL").fetchall()
    offsets: dict[str, int] = dict(rows)
    sizes = {path.name: path.stat().st_size for path in (folder / "uploads").iterdir()}
    for name in sizes.keys() - offsets.keys():
        yield f"uploads/{name} belongs to no upload"
    for upload_id, offset in offsets.items():
        if sizes.get(upload_id, 0) < offset:
            yield f"uploads/{upload_id} has not the {offset} bytes that its row says"


def of_blobs(folder: Path, unheld: Collection[str] = ()) -> Iterator[str]:
    """Compare the blobs' files with their names and their rows, after a sweep.

    Of the `unheld` bytes may lie there without a row.
    """
    with closing(sqlite3.connect(folder / "index.sqlite")) as database:
        rows = database.execute("SELECT digest, size, state FROM blobs").fetchall()
    found: dict[str, int] = {}
    for path in (folder / "blobs").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            found[f"sha256:{path.name}"] = len(data)
            if hashlib.sha256(data).hexdigest() != path.name:
                yield f"{path.relative_to(folder)} holds other bytes than its name says"
    for digest, size, state in rows:
        if found.pop(digest, None) != size:
            yield f"the row of {digest}, which is {state}, has not its {size} bytes"
    for digest in found.keys() - set(unheld):
        yield f"{digest} has bytes without a row"
    for path in (folder / "quarantine").iterdir():
        yield f"{path.name} is in quarantine"


def of_databases(folder: Path) -> Iterator[str]:
    """Have SQLite check the databases."""
    for name in _DATABASES:
        with closing(sqlite3.connect(folder / name)) as database:
            for pragma in ("integrity_check", "foreign_key_check"):
                rows = database.execute(f"PRAGMA {pragma}").fetchall()
                if rows not in ([("ok",)], []):
                    yield f"{name}: {rows[:3]}"


def of_spools(folder: Path) -> Iterator[str]:
    """Look for temporaries, after the store was closed."""
    left = [path for path in (folder / "spool").iterdir() if path.name != "lock"]
    left += folder.glob("*.new")
    for path in left:
        yield f"the temporary {path.relative_to(folder)} is left after a restart and a close"
