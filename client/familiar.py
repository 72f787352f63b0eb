"""Texts met lately, so that a conversation's images are not hashed anew in each turn.

A text is known again by two numbers: a seeded XXH3-128, of which purpose-made texts could share one, and
Python's own keyed hash, SipHash, whose key is this process's secret (it is none where PYTHONHASHSEED
sets it). Nobody can make two texts that are mistaken for each other without that key.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

import xxhash

from coatcheck.protocol import FoundInline, TakenText

T = TypeVar("T")

_MAX_ENTRIES = 8192  # some 300 bytes each
_SLICE_CHARS = 64 * 1024  # encoded at once: what stays in the processor's cache


@dataclass(frozen=True, slots=True)
class TextKey:
    """One text: its two checksums, where its base64 begins, in which alphabet."""

    checksum: bytes
    keyed: int
    start: int
    is_url_safe: bool


class Familiar(Generic[T]):
    """A bounded memory of what texts are, for each owner; the one met longest ago is forgotten first.

    Safe for threads.
    """

    def __init__(self, seed: int, max_entries: int = _MAX_ENTRIES) -> None:
        """`seed` is 64 random bits."""
        self._seed = seed
        self._max_entries = max_entries
        self._known: OrderedDict[tuple[str, TextKey], T] = OrderedDict()
        self._lock = threading.Lock()

    def key_of(self, found: FoundInline) -> TextKey | None:
        """Return what a text is known by; None: it is no base64. Some 0.3 ms a megabyte."""
        text = found.text
        checksum = xxhash.xxh3_128(seed=self._seed)
        if isinstance(text, TakenText):
            checksum.update(text.head.encode())
            checksum.update(text.content)
            keyed = hash((text.head, text.content.toreadonly()))
        elif text.isascii():
            for start in range(0, len(text), _SLICE_CHARS):
                checksum.update(text[start : start + _SLICE_CHARS].encode())
            keyed = hash(text)  # computed once for each string
        else:
            return None
        return TextKey(checksum.digest(), keyed, found.start, found.is_url_safe)

    def find(self, owner: str, key: TextKey) -> T | None:
        """Return what a text of an owner's was noted as."""
        with self._lock:
            known = self._known.get((owner, key))
            if known is not None:
                self._known.move_to_end((owner, key))
            return known

    def note(self, owner: str, key: TextKey, what: T) -> None:
        """Remember what a text is."""
        with self._lock:
            self._known[owner, key] = what
            self._known.move_to_end((owner, key))
            if len(self._known) > self._max_entries:
                self._known.popitem(last=False)
