"""One measured figure beside the limit that it should keep."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """A ratio or an amount; `value` over `limit` is a promise not kept."""

    name: str
    value: float
    limit: float
    unit: str
    """What `value` and `limit` are in: `x` for ratios, `MB` for memory."""
    compared: str
    """The figures that `value` comes from, for people."""

    @property
    def is_kept(self) -> bool:
        """Whether the figure is within its limit."""
        return self.value <= self.limit
