"""Refs of an application's files: each put once, and known again without being read.

1. A file is known by a key that names the same bytes for as long as this process runs.
2. A digest is handed out at most `checked_seconds` after the store said that it has it. Asking renews
   the lease, so nothing that is handed out can be about to expire.
3. Nothing here fails a turn: without a ref, None, and the caller goes on as if there were no store.
   What `load` raises is the caller's own and passes.
"""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from coatcheck.protocol import (
    Descriptor,
    Digest,
    InvalidMediaTypeError,
    Ref,
    parse_media_type,
)

from ..errors import ClientError, DigestMismatchError, InvalidArgumentError, ServerError

FileKey: TypeAlias = tuple[str, str]
"""The kind of a file's record, and its id: what names a file's bytes for good."""

CHECKED_SECONDS = 300.0  # so long turns can fail after a store has lost what it had
AWAY_SECONDS = 30.0  # so long no turn waits for a store that did not answer
MAX_FILES = 10_000  # some 600 bytes each

_OF_THE_FILE = frozenset({400, 413, 415, 422})

_log = logging.getLogger(__name__)


class Blobs(Protocol):
    """What is asked of a store; `coatcheck.Client` is one."""

    def put(self, source: bytes, *, media_type: str | None = None) -> Descriptor:
        """Store bytes and describe them."""
        ...

    def missing(self, names: Iterable[Digest]) -> list[Digest]:
        """Return the digests that have to be put, and renew the leases of the others."""
        ...


@dataclass(slots=True)
class _Known:
    """What is known of one file. Its lock is held while the store is asked about it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    digest: Digest | None = None
    checked_until: float = 0.0
    refused_until: float = 0.0


class FileRefs:
    """Puts files and remembers their digests. Safe for threads and greenlets; does not own `blobs`.

    `checked_seconds` is how long the store's word is taken that it has a blob; keep it well under the
    store's lease. `away_seconds` is how long nobody is asked after the store failed, nor about a
    file that it refused. Of more than `max_files` those used longest ago are forgotten: they are
    read and named again, and not sent. `clock` counts seconds.
    """

    def __init__(
        self,
        blobs: Blobs,
        *,
        checked_seconds: float = CHECKED_SECONDS,
        away_seconds: float = AWAY_SECONDS,
        max_files: int = MAX_FILES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._blobs = blobs
        self._checked_seconds = checked_seconds
        self._away_seconds = away_seconds
        self._max_files = max_files
        self._clock = clock
        self._away_until = clock()
        self._files: OrderedDict[FileKey, _Known] = OrderedDict()
        self._lock = threading.Lock()

    def ref(self, key: FileKey, load: Callable[[], bytes], media_type: str | None) -> Ref | None:
        """Return a file's ref once the store has its bytes; None: it cannot have them now.

        `load` reads the file. It is called when nothing is known of the key, or the store has lost
        the blob; callers that ask for one key at once wait for the first of them.
        `media_type` counts where the bytes do not show it; what is none is left out.

        Raises:
            what `load` raises.
        """
        known = self._known(key)
        with known.lock:
            now = self._clock()
            if now < max(self._away_until, known.refused_until):
                return None
            try:
                digest = self._still_there(known, now)
                if digest is None:
                    digest = self._put(load(), media_type)
            except ClientError as error:
                self._failed(known, key, error)
                return None
            if digest != known.digest or now >= known.checked_until:
                known.digest, known.checked_until = digest, now + self._checked_seconds
            return Ref(digest)

    def _known(self, key: FileKey) -> _Known:
        with self._lock:
            known = self._files.setdefault(key, _Known())
            self._files.move_to_end(key)
            if len(self._files) > self._max_files:
                self._files.popitem(last=False)
            return known

    def _still_there(self, known: _Known, now: float) -> Digest | None:
        digest = known.digest
        if digest is None or now < known.checked_until:
            return digest
        return None if self._blobs.missing([digest]) else digest

    def _put(self, data: bytes, media_type: str | None) -> Digest:
        return self._blobs.put(data, media_type=_declared(media_type)).digest

    def _failed(self, known: _Known, key: FileKey, error: ClientError) -> None:
        until = self._clock() + self._away_seconds
        if _is_of_the_file(error):
            known.refused_until = until
            _log.warning("file %s goes without a ref: %s", "/".join(key), error)
        else:
            self._away_until = until
            _log.warning("files go without refs for %g s: %s", self._away_seconds, error)


def _is_of_the_file(error: ClientError) -> bool:
    """Whether other files may fare better."""
    if isinstance(error, ServerError):
        return error.status in _OF_THE_FILE
    return isinstance(error, InvalidArgumentError | DigestMismatchError)


def _declared(media_type: str | None) -> str | None:
    try:
        return None if media_type is None else parse_media_type(media_type)
    except InvalidMediaTypeError:
        return None
