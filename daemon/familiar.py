"""What tenants sent inline lately, so that a conversation's images are not hashed anew in each turn.

A checksum of the text says which blob it was. That is a guess: it spares taking in what seems to be held
already, which is asked of the store all the same, and decides nothing else. It is seeded, so that nobody
can make two texts that are mistaken for each other.
"""

from collections import OrderedDict
from dataclasses import dataclass

import xxhash

from coatcheck.protocol import Digest, FoundInline, TakenText

_MAX_ENTRIES = 8192  # some 300 bytes each
_SLICE_CHARS = 64 * 1024  # encoded at once: what stays in the processor's cache


@dataclass(frozen=True, slots=True)
class TextKey:
    """One text: its checksum, where its base64 begins, in which alphabet."""

    checksum: bytes
    start: int
    is_url_safe: bool


class Familiar:
    """A bounded memory of texts, the one met longest ago forgotten first. Belongs to the event loop."""

    def __init__(self, seed: int) -> None:
        """`seed` is 64 random bits."""
        self._seed = seed
        self._digests: OrderedDict[tuple[str, TextKey], Digest] = OrderedDict()

    def key_of(self, found: FoundInline) -> TextKey | None:
        """Return what a text is known by; None: it is no base64. For any thread, 0.1 ms a megabyte."""
        text = found.text
        checksum = xxhash.xxh3_128(seed=self._seed)
        if isinstance(text, TakenText):
            checksum.update(text.head.encode())
            checksum.update(text.content)
            return TextKey(checksum.digest(), found.start, found.is_url_safe)
        if not text.isascii():
            return None
        for start in range(0, len(text), _SLICE_CHARS):
            checksum.update(text[start : start + _SLICE_CHARS].encode())
        return TextKey(checksum.digest(), found.start, found.is_url_safe)

    def find(self, tenant: str, key: TextKey) -> Digest | None:
        """Return what blob a text of a tenant's was."""
        digest = self._digests.get((tenant, key))
        if digest is not None:
            self._digests.move_to_end((tenant, key))
        return digest

    def note(self, tenant: str, key: TextKey, digest: Digest) -> None:
        """Remember what blob a text is."""
        self._digests[tenant, key] = digest
        self._digests.move_to_end((tenant, key))
        if len(self._digests) > _MAX_ENTRIES:
            self._digests.popitem(last=False)
