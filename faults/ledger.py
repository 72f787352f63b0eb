"""What a process asked of a store and was told, written line by line so that its death loses none.

It lies outside the data folder. A line is written before each step and after each answer; what was
written to the kernel survives a `kill -9`. In a power cut it is on another file system, which stays.
"""

import json
import os
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from coatcheck.protocol import Digest


class Mark(StrEnum):
    """What a line says of its step."""

    BEGUN = "begun"
    DONE = "done"
    REFUSED = "refused"
    """With an error that says that the disk or the index failed."""
    BROKEN = "broken"
    """With anything else: a fault of ours."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line. A step names what it is about; what does not apply to it is empty."""

    mark: Mark
    step: str
    tenant: str = ""
    digest: str = ""
    text: str = ""
    """What was said: a prompt's message, a key's id, an error."""
    until: float = 0.0
    """When the lease ends that was promised."""


class Ledger:
    """The file, open for writing by one process."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, line: Line) -> None:
        """Add a line in one call."""
        os.write(self._descriptor, json.dumps(asdict(line)).encode() + b"\n")

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


def read_ledger(path: Path, told_bytes: int | None = None) -> Iterator[Line]:
    """Yield the whole lines of a ledger; none when there is no file.

    What was answered beyond so many bytes counts as asked for and not answered.
    """
    read = 0
    for text in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
        read += len(text)
        if text.endswith(b"\n"):
            fields = json.loads(text)
            mark = Mark(fields["mark"])
            if mark is Mark.DONE and told_bytes is not None and read > told_bytes:
                mark = Mark.BEGUN
            yield Line(**fields | {"mark": mark})


def content(name: str, size: int) -> bytes:
    """Return the bytes of this name: the same ones each time, like no other's."""
    return random.Random(name).randbytes(size)


def digest_of(name: str, size: int) -> Digest:
    """Return the digest of `content`."""
    return Digest.of(content(name, size))
