"""The walk over one image: where it stands, and what it has noted.

A walk is a generator that reads `data` at `at`. It moves `at` as far as it likes, beyond `end` too,
so that a payload is stepped over without being looked at. Before it reads, it checks that the bytes
are there, and otherwise yields how many it needs at `at`; it is resumed when they are. What it
returns is the fault that ends it, or None at the image's end.

Each step is counted, and a walk ends that takes more of them than a number that grows with the
bytes. What is counted depends on the bytes alone, never on how they were cut into pieces.
"""

from collections.abc import Generator
from typing import TypeAlias

from ..buffer import Buffer
from .info import ImageFault

MAX_NEED_BYTES = 64
"""The most that a walk may ask for at once."""

# A thousand frames of an animation take five steps each; an image in pieces of 8 kB, one for each.
_FREE_STEPS = 8_192
_STEP_BYTES = 1_024

Walk: TypeAlias = Generator[int, None, ImageFault | None]


class Scan:
    """What a walk reads and what it notes. Sizes are in pixels."""

    __slots__ = (
        "at",
        "base",
        "data",
        "end",
        "frames",
        "frames_seen",
        "height",
        "media_type",
        "metadata_bytes",
        "reach_height",
        "reach_width",
        "steps",
        "width",
    )

    def __init__(self) -> None:
        self.data: Buffer = b""
        self.at = 0
        self.end = 0
        self.base = 0
        """How far from the image's first byte `data` begins."""
        self.steps = 0
        self.media_type: str | None = None
        self.width: int | None = None
        self.height: int | None = None
        self.frames: int | None = None
        self.frames_seen = 0
        self.reach_width = 0
        """How far frames reach, whatever the image claims; decoders may grow the image to it."""
        self.reach_height = 0
        self.metadata_bytes = 0

    def may_step(self) -> bool:
        """Count a step, and say whether it may be taken."""
        self.steps += 1
        return (
            self.steps <= _FREE_STEPS
            or self.steps <= _FREE_STEPS + (self.base + self.at) // _STEP_BYTES
        )

    def reach(self, width: int, height: int) -> None:
        """Note how far a frame reaches."""
        self.reach_width = max(self.reach_width, width)
        self.reach_height = max(self.reach_height, height)
