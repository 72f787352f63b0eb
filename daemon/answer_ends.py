"""The two ends of an answer on its way to the client, where providers say what they counted."""

_HEAD_BYTES = 8 * 1024
_TAIL_BYTES = 16 * 1024


class AnswerEnds:
    """Keeps a bounded copy of an answer's first and last bytes."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()

    def take(self, data: bytes) -> None:
        """Take the next bytes."""
        room = _HEAD_BYTES - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        self._tail += data[-_TAIL_BYTES:]
        if len(self._tail) > 2 * _TAIL_BYTES:
            del self._tail[:-_TAIL_BYTES]

    def joined(self) -> bytes:
        """Return both ends; between them stands something that is in no number."""
        return bytes(self._head) + b" " * bool(self._tail) + bytes(self._tail[-_TAIL_BYTES:])
