"""How images are decoded: each limit with its unit, its default and the reason for it."""

from dataclasses import dataclass, field
from math import ceil
from typing import Self

from coatcheck.protocol import ImageBudgets

_MIB = 1024 * 1024
_DEFAULT_PIXELS = ImageBudgets().max_pixels


@dataclass(frozen=True, slots=True)
class ImageWorkerConfig:
    """What one `ImageWorkers` is told.

    Raises:
        ValueError: a limit is not positive.
    """

    workers: int = 2
    """Processes, which is images decoded at once; each takes some 70 MB while it waits. They start
    when they are first needed."""

    max_waiting: int = 64
    """Requests that wait for a worker; more are refused, for they would wait for seconds."""

    max_source_bytes: int = 64 * _MIB
    """The largest image handed to a worker: twice what phones and providers' limits make."""

    max_variant_bytes: int = 32 * _MIB
    """The largest result taken from a worker; it is held whole."""

    memory_bytes: int = 1024 * _MIB
    """What a worker may map beyond what it starts with: the largest WebP of the default budgets,
    which needs six times its pixels, and its file."""

    cpu_seconds: int = 10
    """Processor time of one request; the largest images of the default budgets take two."""

    timeout_seconds: float = 30.0
    """From the first byte sent to a worker to its answer: thrice the processor time, for a machine
    that is busy."""

    start_seconds: float = 30.0
    """What a worker may take to start: half a second on an idle machine."""

    max_requests: int = 500
    """After so many a worker is replaced, so that nothing a decoder leaks adds up."""

    budgets: ImageBudgets = field(default_factory=ImageBudgets)
    """What an image's header may claim."""

    @classmethod
    def of(cls, *, workers: int, max_pixels: int) -> Self:
        """Return the configuration for images of so many pixels: other limits grow along."""
        usual, times = cls(), max(1.0, max_pixels / _DEFAULT_PIXELS)
        return cls(
            workers=workers,
            memory_bytes=ceil(usual.memory_bytes * times),
            cpu_seconds=ceil(usual.cpu_seconds * times),
            timeout_seconds=usual.timeout_seconds * times,
            budgets=ImageBudgets(
                max_pixels=max_pixels,
                max_animation_pixels=ceil(usual.budgets.max_animation_pixels * times),
            ),
        )

    def __post_init__(self) -> None:
        limits = {
            "workers": self.workers,
            "max_waiting": self.max_waiting,
            "max_source_bytes": self.max_source_bytes,
            "max_variant_bytes": self.max_variant_bytes,
            "memory_bytes": self.memory_bytes,
            "cpu_seconds": self.cpu_seconds,
            "timeout_seconds": self.timeout_seconds,
            "start_seconds": self.start_seconds,
            "max_requests": self.max_requests,
        }
        for name, value in limits.items():
            if value <= 0:
                raise ValueError(f"{name} must be positive, not {value}")
