"""What happens in an agent's run: which turns, with which texts and screenshots."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

from .speech import MODEL
from .tools import TOOLS, instructions, tools
from .words import words

_MAX_CALLS = 2


@dataclass(frozen=True, slots=True)
class Step:
    """One turn: a text for each tool call that may have to be answered, and what the screen shows."""

    texts: tuple[str, ...]
    images: tuple[Path, ...]
    is_streamed: bool
    keep: int | None = None
    """Where the conversation branches: after so many messages. None goes on."""

    def to_json(self) -> Mapping[str, object]:
        """Return what a program is told of it."""
        told: dict[str, object] = {
            "texts": self.texts,
            "images": [str(image) for image in self.images],
            "is_streamed": self.is_streamed,
        }
        return told if self.keep is None else {**told, "keep": self.keep}


@dataclass(frozen=True, slots=True)
class Role:
    """What an application is: its dialect, where it asks and how, and what it sends every time."""

    dialect: str
    url: str
    way: str = "plain"
    """`plain`, `wrap` or `http_client`: how its SDK's client is made."""
    tool_count: int = TOOLS
    max_retries: int = 2
    key: str = "sk-agent"

    def to_json(self) -> Mapping[str, object]:
        """Return what a program is told of it."""
        return {
            "dialect": self.dialect,
            "url": self.url,
            "way": self.way,
            "max_retries": self.max_retries,
            "key": self.key,
            "model": MODEL,
            "instructions": instructions(),
            "tools": tools(self.dialect, self.tool_count),
        }

    @property
    def said_once_bytes(self) -> int:
        """What instructions and tools weigh as JSON."""
        said = [instructions(), tools(self.dialect, self.tool_count)]
        return len(json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode())


def agent_script(turns: int, images: Sequence[Path]) -> list[Step]:
    """Return the turns of a run, which shows the images in order, as evenly as they can be shared.

    Every second turn is streamed.
    """
    starts = [number * len(images) // turns for number in range(turns + 1)]
    return [
        Step(_texts(number), tuple(images[start:end]), number % 2 == 1)
        for number, (start, end) in enumerate(pairwise(starts))
    ]


def _texts(number: int) -> tuple[str, ...]:
    random = Random(f"turn {number}")
    return tuple(
        f"Result {number}.{call}: {words(random, random.randint(20, 200))}."
        for call in range(_MAX_CALLS)
    )
