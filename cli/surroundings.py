"""What a process finds around it when it opens what it serves."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from coatcheck import store, web


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The environment, the clock, and the processes that serve together with this one."""

    environment: Mapping[str, str]
    siblings: web.Siblings = field(default_factory=web.Siblings)
    shared_folder: store.SharedFolder | None = None
    """The data folder, where several processes serve it together; else the store takes it."""
    clock: Callable[[], float] = time.time
    """Unix seconds, by which leases, prompts and keys end."""
    monotonic: Callable[[], float] = time.monotonic
    """Seconds that passed, whatever becomes of the clock."""
