"""Marks: what is remembered of what passed, so that it is known when it passes again.

A mark is 16 bytes of a keyed hash over a tenant, a dialect and a digest. Nothing can be read back
from it, tenants have no mark in common, and nor have two installations.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

from .observed_turn import ObservedTurn

SALT_BYTES = 16
_MARK_BYTES = 16

Mark: TypeAlias = bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """When something was last seen, in Unix seconds; of a prefix, how many messages it has."""

    at: float
    depth: int = 0


Memory: TypeAlias = Mapping[Mark, Seen]


@dataclass(frozen=True, slots=True)
class TurnMarks:
    """The marks of one turn, each list as long as the messages.

    `ends` are those by which a message is known as the last one of an earlier request: together
    with the message before it, and alone where it is telling.
    """

    parent: Mark
    prefixes: Sequence[Mark]
    ends: Sequence[tuple[Mark, ...]]
    images: Sequence[tuple[Mark, ...]]

    def all(self) -> set[Mark]:
        """Return every mark of the turn."""
        return {self.parent, *self.prefixes, *chain(*self.ends), *chain(*self.images)}


class Marker:
    """Makes marks. `salt` is `SALT_BYTES` random bytes of the installation."""

    def __init__(self, salt: bytes) -> None:
        self._salt = salt

    def marks(
        self, tenant: str, turn: ObservedTurn, step: Callable[[], None] = lambda: None
    ) -> TurnMarks:
        """Return the marks of a turn. `step` is called before each message's."""
        dialect = turn.dialect
        prefixes: list[Mark] = []
        for digest in turn.chain:
            step()
            prefixes.append(self._mark("prefix", tenant, dialect, digest.raw))
        ends: list[tuple[Mark, ...]] = []
        images: list[tuple[Mark, ...]] = []
        previous = b""
        for message in turn.messages:
            step()
            end = self._mark("end", tenant, dialect, previous + message.own)
            alone = [self._mark("end", tenant, dialect, message.own)] * message.is_telling
            ends.append((end, *alone))
            images.append(
                tuple(self._mark("image", tenant, "", image.digest.raw) for image in message.images)
            )
            previous = message.own
        parent = turn.parent.raw if turn.parent else b""
        return TurnMarks(self._mark("prefix", tenant, dialect, parent), prefixes, ends, images)

    def _mark(self, kind: str, tenant: str, dialect: str, value: bytes) -> Mark:
        scope = f"{kind}\n{dialect}\n{tenant}\0".encode()
        hashed = hashlib.blake2b(scope + value, key=self._salt, digest_size=_MARK_BYTES)
        return hashed.digest()
