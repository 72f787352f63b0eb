"""What a store owes after what it acknowledged, read from ledgers."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from .ledger import Line, Mark

Held = tuple[str, str]
"""A tenant and a digest."""


@dataclass(slots=True)
class Promised:
    """What has to be there, what may be, and what must not."""

    blobs: dict[Held, float] = field(default_factory=dict[Held, float])
    """What was acknowledged, with the end of its lease."""
    maybe: set[Held] = field(default_factory=set[Held])
    """Asked for and not answered: there in whole, or not there."""
    released: set[Held] = field(default_factory=set[Held])
    pinned: set[Held] = field(default_factory=set[Held])
    prompts: dict[Held, str] = field(default_factory=dict[Held, str])
    keys: set[str] = field(default_factory=set[str])
    acknowledged: int = 0
    broken: list[str] = field(default_factory=list[str])
    """What was answered that never should be."""
    refused: list[str] = field(default_factory=list[str])

    @classmethod
    def by(cls, lines: Iterable[Line]) -> "Promised":
        """Follow the lines in the order in which they were written."""
        promised = cls()
        for line in lines:
            promised.add(line)
        return promised

    def add(self, line: Line) -> None:
        """Follow one more line."""
        held = (line.tenant, line.digest)
        match line.mark:
            case Mark.BROKEN:
                self.broken.append(f"{line.step}: {line.text}")
            case Mark.REFUSED:
                self.refused.append(f"{line.step}: {line.text}")
            case Mark.BEGUN:
                self._begin(line.step, held)
            case Mark.DONE:
                self.acknowledged += 1
                self._do(line, held)

    def _begin(self, step: str, held: Held) -> None:
        if step == "put" and held not in self.blobs:
            self.maybe.add(held)
            self.released.discard(held)
        elif step == "release":
            self.maybe.add(held)
            self.blobs.pop(held, None)
            self.pinned.discard(held)

    def _do(self, line: Line, held: Held) -> None:
        if line.step == "put":
            self.blobs[held] = max(line.until, self.blobs.get(held, 0.0))
            self.maybe.discard(held)
        elif line.step == "pin":
            self.pinned.add(held)
        elif line.step == "release":
            self.released.add(held)
            self.maybe.discard(held)
        elif line.step == "prompt":
            self.prompts[held] = line.text
        elif line.step == "key":
            self.keys.add(line.text)
