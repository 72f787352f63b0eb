"""What a store owes after what it acknowledged, read from ledgers."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from .ledger import Line, Mark
from .sender import Parcel

Held = tuple[str, str]
"""A tenant and a digest."""
Person = tuple[str, str]
"""A tenant and its end user."""


@dataclass(slots=True)
class Promised:
    """What has to be there, what may be, and what must not."""

    blobs: dict[Held, float] = field(default_factory=dict[Held, float])
    """What was acknowledged, with the end of its lease."""
    maybe: set[Held] = field(default_factory=set[Held])
    """Asked for and not answered: there in whole, or not there."""
    released: set[Held] = field(default_factory=set[Held])
    """Let go of or erased: not there, whatever becomes of the bytes."""
    pinned: set[Held] = field(default_factory=set[Held])
    uploads: dict[str, Parcel] = field(default_factory=dict[str, Parcel])
    """Uploads in parts that were begun and neither finished nor said to be lost, by their ids."""
    declared: set[str] = field(default_factory=set[str])
    """Those of them whose length is known."""
    files: dict[Held, str] = field(default_factory=dict[Held, str])
    """A digest for a tenant and an id."""
    removed_files: set[Held] = field(default_factory=set[Held])
    prompts: dict[Held, str] = field(default_factory=dict[Held, str])
    erased_prompts: set[Held] = field(default_factory=set[Held])
    keys: set[str] = field(default_factory=set[str])
    erasing: set[Person] = field(default_factory=set[Person])
    """Whose erasure was asked for and not answered."""
    erased: set[Person] = field(default_factory=set[Person])
    erased_blobs: set[Held] = field(default_factory=set[Held])
    """What went with them, and was not handed in anew."""
    erased_uploads: set[str] = field(default_factory=set[str])
    unanswered: str = ""
    """The step that was begun last, if it was not answered."""
    acknowledged: int = 0
    broken: list[str] = field(default_factory=list[str])
    """What was answered that never should be."""
    refused: list[str] = field(default_factory=list[str])
    _claims: defaultdict[Held, set[str]] = field(default_factory=lambda: defaultdict(set))
    """For whom each blob was uploaded; empty text for nobody in particular."""
    _uploads_of: defaultdict[Person, set[str]] = field(default_factory=lambda: defaultdict(set))
    _prompts_of: defaultdict[Person, set[Held]] = field(default_factory=lambda: defaultdict(set))
    _erasure: dict[Person, set[Held]] = field(default_factory=dict[Person, set[Held]])
    """Which blobs each erasure takes."""

    @classmethod
    def by(cls, lines: Iterable[Line]) -> "Promised":
        """Follow the lines in the order in which they were written."""
        promised = cls()
        for line in lines:
            promised.add(line)
        return promised

    @property
    def unheld(self) -> set[str]:
        """Digests whose bytes may lie there without a row, until files and rows are reconciled.

        That is what a crash or a failing disk leaves of an upload or of a removal; nobody is answered.
        """
        if not (self.refused or self.maybe or self.erasing or self.unanswered):
            return set()
        held = {digest for _, digest in self.blobs}
        return {digest for _, digest in (*self.maybe, *self.released)} - held

    def add(self, line: Line) -> None:
        """Follow one more line."""
        match line.mark:
            case Mark.BROKEN:
                self.broken.append(f"{line.step}: {line.text}")
            case Mark.REFUSED:
                self.refused.append(f"{line.step}: {line.text}")
            case Mark.BEGUN:
                self._begin(line)
            case Mark.DONE:
                self.acknowledged += 1
                self._do(line)

    def _begin(self, line: Line) -> None:
        held = (line.tenant, line.digest)
        self.unanswered = line.step
        match line.step:
            case "put" | "finish" if held not in self.blobs:
                self.maybe.add(held)
                self.released.discard(held)
                self.erased_blobs.discard(held)
            case "release":
                self._doubt(held)
            case "remove file":
                self.files.pop((line.tenant, line.id), None)
            case "erase" if line.end_user:
                self._begin_erasure((line.tenant, line.end_user))
            case _:
                pass

    def _do(self, line: Line) -> None:
        held = (line.tenant, line.digest)
        self.unanswered = ""
        match line.step:
            case "put" | "finish":
                self.blobs[held] = max(line.until, self.blobs.get(held, 0.0))
                self.maybe.discard(held)
                self._claims[held].add(line.end_user)
                self.uploads.pop(line.id, None)
            case "begin" | "append" | "declare" | "lost":
                self._do_part(line)
            case "pin":
                self.pinned.add(held)
            case "release":
                self._lose(held)
            case "file":
                self.files[line.tenant, line.id] = line.digest
            case "remove file":
                self.removed_files.add((line.tenant, line.id))
            case "prompt":
                self.prompts[held] = line.text
                self._prompts_of[line.tenant, line.end_user].add(held)
            case "erase":
                self.finish_erasure((line.tenant, line.end_user))
            case "key":
                self.keys.add(line.text)
            case _:
                pass

    def _do_part(self, line: Line) -> None:
        if line.step == "lost":
            self.uploads.pop(line.id, None)
        elif line.step == "declare":
            self.declared.add(line.id)
        else:
            parcel = Parcel(line.tenant, line.text, line.size, line.end_user, id=line.id)
            parcel.offset = line.offset
            self.uploads[line.id] = parcel
            self._uploads_of[line.tenant, line.end_user].add(line.id)

    def _doubt(self, held: Held) -> None:
        self.maybe.add(held)
        self.blobs.pop(held, None)
        self.pinned.discard(held)

    def _lose(self, held: Held) -> None:
        self.released.add(held)
        self.maybe.discard(held)
        self._claims.pop(held, None)

    def _begin_erasure(self, person: Person) -> None:
        tenant, end_user = person
        self.erasing.add(person)
        taken = self._erasure.setdefault(person, set())
        taken |= {
            held
            for held, claims in self._claims.items()
            if held[0] == tenant and claims == {end_user}
        }
        for held in taken:
            self._doubt(held)
        for place, digest in [*self.files.items()]:
            if (tenant, digest) in taken and place[0] == tenant:
                del self.files[place]
                self.removed_files.add(place)
        for held in self._prompts_of.pop(person, set()):
            self.prompts.pop(held, None)
            self.erased_prompts.add(held)
        for upload_id in self._uploads_of[person]:
            self.uploads.pop(upload_id, None)

    def finish_erasure(self, person: Person) -> None:
        """Owe that this end user is erased."""
        self.erasing.discard(person)
        self.erased.add(person)
        self.erased_uploads |= self._uploads_of.pop(person, set())
        for held in self._erasure.pop(person, set()):
            self._lose(held)
            self.erased_blobs.add(held)
