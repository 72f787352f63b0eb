"""What a supervisor and a worker say to each other, over a pair of sockets that only they have.

First the supervisor sends the order, a line of JSON. The worker answers `ready`, or `failed` and why.
Then the supervisor may send `retire`, `stop` and `hurry`. When either end is closed, the other
process is gone, however it ended.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, JsonValue

Word: TypeAlias = Literal["retire", "stop", "hurry"]

READY = "ready"
FAILED = "failed "
LINE_BYTES = 16 * 1024 * 1024
"""An order holds all settings."""


class Order(BaseModel):
    """What a worker is to serve, and the descriptors it inherits for that."""

    model_config = ConfigDict(frozen=True)

    service: str
    name: str
    """The worker's own, unlike any other's of its supervisor."""
    settings: Mapping[str, JsonValue]
    listeners: tuple[int, ...]
    balance: tuple[int, int]
    """The descriptor of the memory in which the workers see each other's load, and the own slot."""
    shared_folder: tuple[int, int] | None
    doors: Path
    """The folder of the sockets on which the workers ask each other."""
