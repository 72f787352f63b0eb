"""What could not be kept lately: not fetched in vain again, and said once."""

import logging
from collections import OrderedDict

from coatcheck.protocol import Digest
from coatcheck.store import StoreError

from .errors import NoRoomError, WastedError

_log = logging.getLogger(__name__)
_PAUSE_SECONDS = 5.0  # longer than a turn takes from preparing its blobs to sending them
_REMEMBERED = 1024


class Unkept:
    """Remembers for one process. Belongs to the event loop."""

    def __init__(self) -> None:
        self._wasted: OrderedDict[Digest, float] = OrderedDict()
        self._is_said = False

    def note(self, digest: Digest, error: NoRoomError | StoreError, now: float) -> None:
        """Note that there is no copy of a blob; a fault of the disk is said once in a row."""
        if isinstance(error, WastedError):
            self._wasted[digest] = now
            self._wasted.move_to_end(digest)
            while len(self._wasted) > _REMEMBERED:
                self._wasted.popitem(last=False)
        is_fault = isinstance(error, StoreError) or isinstance(
            error.__cause__, OSError | StoreError
        )
        level = logging.WARNING if is_fault and not self._is_said else logging.DEBUG
        self._is_said = self._is_said or is_fault
        _log.log(level, "no copy of %s, it comes from the store: %s", digest, error)

    def note_kept(self) -> None:
        """Note that copies can be kept."""
        if self._is_said:
            self._is_said = False
            _log.info("copies are kept again")

    def is_wasted(self, digest: Digest, now: float) -> bool:
        """Return whether the bytes of a blob came a moment ago and could not be kept."""
        at = self._wasted.get(digest)
        return at is not None and 0 <= now - at < _PAUSE_SECONDS
