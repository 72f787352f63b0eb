"""One figure beside the limit that it should keep, or why it was not taken."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """A ratio or an amount; `value` on the wrong side of `limit` is a promise not kept."""

    name: str
    value: float
    limit: float | None
    """None: nothing is promised."""
    unit: str
    """What `value` and `limit` are in: `x` for ratios, `MB` for memory."""
    compared: str
    """The figures that `value` comes from, for people."""
    at_least: bool = False
    """Whether the limit is a bound from below; else from above."""

    @property
    def is_kept(self) -> bool:
        """Whether the figure is within its limit."""
        if self.limit is None:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(frozen=True, slots=True)
class Unmeasured:
    """What could not be measured here: a promise of which nothing is known."""

    name: str
    why: str
    """What is missing, and how to get it."""

    @property
    def is_kept(self) -> bool:
        """No: a check that measured nothing has not passed."""
        return False
