"""The gate that an upstream's events pass: whole ones at once, parts of one not before it must.

So an answer that breaks off can still end in an error event that a client reads.
"""

from coatcheck.protocol import event_end

HOLD_BYTES = 64 * 1024  # an event longer than this is passed on as it comes


class EventGate:
    """Passes bytes on at the ends of events. Linear in the length of an event."""

    def __init__(self, hold_bytes: int = HOLD_BYTES) -> None:
        self._hold_bytes = hold_bytes
        self._held = bytearray()
        self.is_inside = False
        """Part of an event has been passed on, and not yet its end."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return those that may go, possibly none."""
        seen = len(self._held)
        self._held += data
        end = event_end(self._held, max(0, seen - 3))  # a blank line may straddle the seam
        if end:
            self.is_inside = False
        elif len(self._held) > self._hold_bytes:
            end = len(self._held) - 3
            self.is_inside = True
        passed = bytes(self._held[:end])
        del self._held[:end]
        return passed

    @property
    def is_torn(self) -> bool:
        """True when the bytes so far end inside a line."""
        return bool(self._held) and self._held[-1] not in b"\r\n"

    def finish(self) -> bytes:
        """Return what is left at a clean end."""
        rest = bytes(self._held)
        self._held.clear()
        return rest

    def break_off(self, error_event: bytes) -> bytes:
        """Return what to send when the upstream broke off: `error_event`, on a line of its own.

        An event that is not whole is dropped, unless part of it has gone already.
        """
        rest = self.finish()
        return rest + b"\n\n" + error_event if self.is_inside else error_event
