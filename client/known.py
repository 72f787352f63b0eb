"""What a server is known to have: which lets a turn send only what is new.

All of it is a guess. One that turned out wrong costs one request, so entries need no expiry: those used
longest ago make way.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from coatcheck.protocol import (
    Digest,
    FoundInline,
    Json,
    NamedBytes,
    encode_json,
    field_digest,
    message_hash,
)
from coatcheck.protocol import name_bytes as decode_and_hash

from .familiar import Familiar

T = TypeVar("T")

MAX_KEPT = 16_384  # about 3 MB; a conversation of 100 messages takes 100
MAX_BLOBS = 65_536  # about 10 MB
MAX_KNOWN_FIELDS = 4096
DEFAULT_REQUEST_BYTES = 900_000
"""The most that one request takes of a blob: nginx lets 1 MiB through unless it is told otherwise."""
MIN_REQUEST_BYTES = 16 * 1024


class Names:
    """A bounded set of names, least recently used first out. Safe for threads."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._names: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, names: Iterable[str]) -> None:
        """Add names, the one that is to stay longest last."""
        with self._lock:
            for name in names:
                self._names[name] = None
                self._names.move_to_end(name)
            while len(self._names) > self._max_entries:
                self._names.popitem(last=False)

    def forget(self, names: Iterable[str]) -> None:
        """Remove names, known or not."""
        with self._lock:
            for name in names:
                self._names.pop(name, None)

    def has(self, name: str) -> bool:
        """Say whether a name is known."""
        with self._lock:
            return name in self._names


class KeptPrompts(Names):
    """The prompts that the server said it keeps.

    One lives as long as its youngest descendant, so a list's prefixes are kept with it.
    """

    def __init__(self, max_entries: int = MAX_KEPT) -> None:
        super().__init__(max_entries)

    def longest(self, digests: Sequence[Digest]) -> int:
        """Return how many messages of a list are kept, given the digest after each message."""
        with self._lock:
            for count in range(len(digests), 0, -1):
                if digests[count - 1] in self._names:
                    return count
        return 0


class Computed(Generic[T]):
    """What was computed of JSON values met lately. Safe for threads.

    RFC 8785 takes some hundred times as long as plain JSON, by which a value is known here.
    """

    def __init__(self, compute: Callable[[Json], T], max_entries: int) -> None:
        self._compute = compute
        self._max_entries = max_entries
        self._computed: OrderedDict[bytes, T] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, value: Json) -> T:
        """Return what is computed of a value.

        Raises:
            what computing it raises.
        """
        written = hashlib.sha256(encode_json(value)).digest()
        with self._lock:
            if written in self._computed:
                self._computed.move_to_end(written)
                return self._computed[written]
        computed = self._compute(value)
        with self._lock:
            self._computed[written] = computed
            if len(self._computed) > self._max_entries:
                self._computed.popitem(last=False)
        return computed


class Claims:
    """Who uploads what just now: of several turns with one new image, one does. Safe for threads."""

    def __init__(self) -> None:
        self._claimed: dict[str, Future[object]] = {}
        self._lock = threading.Lock()

    def take(self, names: Collection[str]) -> tuple[list[str], list[Future[object]]]:
        """Claim those that nobody has; return them, and what ends when the others' owners are done.

        What was taken is let go with `release`, whatever came of it.
        """
        with self._lock:
            mine = [name for name in names if name not in self._claimed]
            theirs = [self._claimed[name] for name in names if name in self._claimed]
            self._claimed.update({name: Future() for name in mine})
        return mine, theirs

    def release(self, names: Iterable[str]) -> None:
        """Let go of what was taken, once done with it or not; whoever waits looks again."""
        with self._lock:
            ended = [self._claimed.pop(name) for name in names if name in self._claimed]
        for future in ended:
            future.set_result(None)


class Known:
    """All that is known of one server, for one key. Safe for threads; holds nothing that is to be closed.

    `max_request_bytes` is what a request takes of a blob at first, at most.
    """

    def __init__(self, seed: int, max_request_bytes: int = DEFAULT_REQUEST_BYTES) -> None:
        """`seed` is 64 random bits."""
        self.prompts = KeptPrompts()
        self.fields = Names(MAX_KNOWN_FIELDS)
        self.blobs = Names(MAX_BLOBS)
        self.hashes = Computed(message_hash, 4 * MAX_KEPT)
        self.field_digests = Computed(field_digest, MAX_KNOWN_FIELDS)
        self.claims = Claims()
        self._familiar: Familiar[NamedBytes] = Familiar(seed)
        self._request_bytes = max(max_request_bytes, MIN_REQUEST_BYTES)

    @property
    def request_bytes(self) -> int:
        """The most that one request takes of a blob, as far as it was learned."""
        return self._request_bytes

    def shrink(self, refused: int) -> bool:
        """Learn that a request of so many bytes was too large; say whether smaller ones are tried."""
        if refused <= MIN_REQUEST_BYTES:
            return False
        self._request_bytes = max(MIN_REQUEST_BYTES, min(self._request_bytes, refused // 2))
        return True

    def name_bytes(self, found: FoundInline) -> NamedBytes | None:
        """Name inline bytes: by what is known of their text, else by decoding and hashing them."""
        key = self._familiar.key_of(found)
        if key is None:
            return decode_and_hash(found)
        if (known := self._familiar.find("", key)) is not None:
            return known
        if (named := decode_and_hash(found)) is not None:
            self._familiar.note("", key, named)
        return named
