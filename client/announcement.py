"""Answers that announce themselves: the comment in a stream that names the list with the answer.

    : coatcheck-answer <prompt digest>

It is written by the server, on a line of its own and with an empty line behind it. Readers of events
skip comments, but for some clients, which have never seen one.
"""

import re

from coatcheck.protocol import Digest

from .known import KeptPrompts

_BEGIN = b": coatcheck-answer "
_LENGTH = len(_BEGIN) + len("sha256:") + 64 + 2
_comments = re.compile(rb"(?<=[\r\n]): coatcheck-answer (sha256:[0-9a-f]{64})\n\n")


class Announcements:
    """Reads a stream as it passes, cut anywhere; takes the comments out where nobody wants them.

    Feed it all bytes, and pass on what it returns; then call `end` and pass on the rest.
    """

    def __init__(self, prompts: KeptPrompts, *, takes_out: bool) -> None:
        self._prompts = prompts
        self._takes_out = takes_out
        self._before = b"\n"
        """The last byte before what is held: a stream begins at the beginning of a line."""
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return those that can be passed on."""
        seen = self._before + self._held + data
        for comment in _comments.finditer(seen):
            self._prompts.remember([Digest(comment[1].decode())])
        if self._takes_out:
            seen = _comments.sub(b"", seen)
        cut = len(seen) - _begun(seen)
        self._held = seen[cut:]
        passed = seen[1:cut]
        self._before = seen[cut - 1 : cut]
        return passed

    def end(self) -> bytes:
        """Return what was held back."""
        held, self._held = self._held, b""
        return held


def _begun(seen: bytes) -> int:
    """Return how many bytes at the end may be the beginning of a comment; the first is not looked at."""
    for at in range(max(1, len(seen) - _LENGTH + 1), len(seen)):
        if seen[at : at + 1] == b":" and seen[at - 1 : at] in (b"\n", b"\r"):
            tail = seen[at:]
            if _BEGIN.startswith(tail[: len(_BEGIN)]):
                return len(tail)
    return 0
