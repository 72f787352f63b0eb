"""How long a use keeps something, and how seldom that has to be written."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Term:
    """A span that each use begins anew, written only after a sixteenth of it has passed.

    So what is used all the time costs one write in a sixteenth of the span, and still stays for
    at least 15/16 of the span after its last use.
    """

    seconds: float

    def end(self, now: float) -> float:
        """Return when something used now ends."""
        return now + self.seconds

    def is_fresh(self, expires_at: float | None, now: float) -> bool:
        """Return whether this expiry is still late enough to leave it unwritten."""
        return expires_at is not None and expires_at - now > self.seconds * 15 / 16
