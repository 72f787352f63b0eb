"""Pointers: a ref written as a tiny file, for clients that insist on inline data.

    version coatcheck-pointer/1
    digest sha256:<64 hex>
    size <decimal>

Lines end in LF; the last LF may be missing. At most 256 bytes.
"""

import re
from dataclasses import dataclass

from .digest import Digest
from .errors import PointerInvalidError

VERSION_LINE = b"version coatcheck-pointer/1"
MAX_POINTER_BYTES = 256

_matches = re.compile(
    rb"version coatcheck-pointer/1\ndigest (sha256:[0-9a-f]{64})\nsize (0|[1-9][0-9]{0,18})\n?"
).fullmatch


@dataclass(frozen=True, slots=True)
class Pointer:
    """What a pointer says: which blob, and how many bytes it has."""

    digest: Digest
    size: int

    def __str__(self) -> str:
        return f"{VERSION_LINE.decode()}\ndigest {self.digest}\nsize {self.size}\n"


def parse_pointer(data: bytes) -> Pointer | None:
    """Read a pointer; None when the first line is not a pointer's.

    Give it the first `MAX_POINTER_BYTES` + 1 bytes, or all of them where there are fewer.

    Raises:
        PointerInvalidError: the first line is right and the rest, or the length, is not.
    """
    if data != VERSION_LINE and not data.startswith(VERSION_LINE + b"\n"):
        return None
    if len(data) > MAX_POINTER_BYTES:
        raise PointerInvalidError(f"a pointer has at most {MAX_POINTER_BYTES} bytes")
    match = _matches(data)
    if match is None:
        raise PointerInvalidError(
            "after its version line a pointer has the lines 'digest sha256:<64 hex>' and "
            "'size <decimal>', and nothing else"
        )
    return Pointer(Digest(match[1].decode()), int(match[2]))
