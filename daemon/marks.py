"""Marks: what is remembered of what passed, so that it is known when it passes again.

A mark is 16 bytes of a keyed hash over a tenant, a dialect and a digest. Nothing can be read back
from it, tenants have no mark in common, and nor have two installations.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

from coatcheck.protocol import LEADING_KEYS

from .observed_turn import ObservedTurn

SALT_BYTES = 16
_MARK_BYTES = 16
_PRINT_BITS = 60
_IS_PRINT = 1 << 62
HAS_BROKEN = 1 << 61
"""Of a leading print: the prefix of this conversation has broken before."""

Mark: TypeAlias = bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """When something was last seen, in Unix seconds; of a prefix, how many messages it has.

    Of an end, what was seen of its request beside the messages, as `leading_print` has it.
    """

    at: float
    depth: int = 0


Memory: TypeAlias = Mapping[Mark, Seen]


@dataclass(frozen=True, slots=True)
class TurnMarks:
    """The marks of one turn, each list as long as the messages; `leading` is its leading print.

    `ends` are those by which a message is known as the last one of an earlier request: together
    with the message before it, and alone where it is telling.
    """

    leading: int
    parent: Mark
    prefixes: Sequence[Mark]
    ends: Sequence[tuple[Mark, ...]]
    images: Sequence[tuple[Mark, ...]]
    fields: Mapping[str, Mark]
    """Those of the large values beside the messages, by their keys."""

    def all(self) -> set[Mark]:
        """Return every mark of the turn."""
        messages = {self.parent, *self.prefixes, *chain(*self.ends), *chain(*self.images)}
        return messages | set(self.fields.values())


def leading_keys(dialect: str) -> tuple[str, ...]:
    """Return the keys whose values a leading print has something of, in a model's order."""
    return ("model", *LEADING_KEYS.get(dialect, ()))


def leading_print(dialect: str, hashes: Sequence[int]) -> int:
    """Return some bits of each leading value's keyed hash in one number, which is never 0.

    It stands where a mark has a number anyway, so that no marks are added for it.
    """
    width = _PRINT_BITS // len(leading_keys(dialect))
    bits = (value % (1 << width) << (width * at) for at, value in enumerate(hashes))
    return _IS_PRINT | sum(bits)


def changed_key(dialect: str, now: int, before: int) -> str | None:
    """Return the first leading key whose value is another one; None: as far as the prints say, none is."""
    if not before & _IS_PRINT:
        return None
    keys = leading_keys(dialect)
    width = _PRINT_BITS // len(keys)
    differing = now ^ before
    changed = (key for at, key in enumerate(keys) if differing >> width * at & ((1 << width) - 1))
    return next(changed, None)


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
        before = self._mark("prefix", tenant, dialect, parent)
        fields = {one.key: self._mark("field", tenant, "", one.digest.raw) for one in turn.fields}
        return TurnMarks(self._print(tenant, turn), before, prefixes, ends, images, fields)

    def _print(self, tenant: str, turn: ObservedTurn) -> int:
        values = (
            self._mark(key, tenant, turn.dialect, turn.leading.get(key, b""))
            for key in leading_keys(turn.dialect)
        )
        return leading_print(turn.dialect, [int.from_bytes(value) for value in values])

    def _mark(self, kind: str, tenant: str, dialect: str, value: bytes) -> Mark:
        scope = f"{kind}\n{dialect}\n{tenant}\0".encode()
        hashed = hashlib.blake2b(scope + value, key=self._salt, digest_size=_MARK_BYTES)
        return hashed.digest()
