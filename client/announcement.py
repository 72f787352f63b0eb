"""Answers that announce themselves: the comment in a stream that names the list with the answer.

    : coatcheck-answer <prompt digest>

It is written by the server between two events, with an empty line behind it. One inside an event is
somebody else's, and stays: taken out with its empty line, it would join that event to the next. Readers of
events skip comments, but for some clients, which have never seen one.
"""

import re

from coatcheck.protocol import Digest

from .known import KeptPrompts

_BEGIN = b": coatcheck-answer "
_LENGTH = len(_BEGIN) + len("sha256:") + 64 + 2
_comments = re.compile(
    rb"(?:(?<=\n\n)|(?<=\r\r)|(?<=\r\n\r\n)): coatcheck-answer (sha256:[0-9a-f]{64})\n\n"
)
_START = b"\r\n\r\n"  # a stream begins where an event may


class Announcements:
    """Reads a stream as it passes, cut anywhere; takes the comments out where nobody wants them.

    Feed it all bytes, and pass on what it returns; then call `end` and pass on the rest.
    """

    def __init__(self, prompts: KeptPrompts, *, takes_out: bool) -> None:
        self._prompts = prompts
        self._takes_out = takes_out
        self._before = _START
        """The last bytes before what is held."""
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
        passed = seen[len(_START) : cut]
        self._before = seen[cut - len(_START) : cut]
        return passed

    def end(self) -> bytes:
        """Return what was held back."""
        held, self._held = self._held, b""
        return held


def _begun(seen: bytes) -> int:
    """Return how many bytes at the end may be the beginning of a comment; the first are not looked at."""
    for at in range(max(len(_START), len(seen) - _LENGTH + 1), len(seen)):
        if seen[at : at + 1] == b":" and seen[at - 1 : at] in (b"\n", b"\r"):
            tail = seen[at:]
            if _BEGIN.startswith(tail[: len(_BEGIN)]):
                return len(tail)
    return 0
