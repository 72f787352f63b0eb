"""HTML from templates that lie beside a face's code, always escaped."""

from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_UNITS = ("kB", "MB", "GB", "TB")


class Templates:
    """The templates of one package, from its folder `templates`.

    Filters: `bytes` (1234567 -> 1.2 MB) and `moment` (unix seconds -> UTC date and time).
    """

    def __init__(self, package: str) -> None:
        self._environment = Environment(
            loader=PackageLoader(package), autoescape=True, undefined=StrictUndefined
        )
        self._environment.filters["bytes"] = in_bytes
        self._environment.filters["moment"] = in_utc

    def render(self, name: str, **values: object) -> Markup:
        """Fill a template in; values that are Markup go in as they are, all others escaped."""
        return Markup(self._environment.get_template(name).render(**values))


def in_bytes(size: int | None) -> str:
    """Write a size for people, in powers of 1000; a difference may be below zero."""
    if size is None:
        return "-"
    amount, unit = float(size), "B"
    for larger in _UNITS:
        if abs(amount) < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"


def in_utc(seconds: float | None) -> str:
    """Write a time for people."""
    if seconds is None:
        return "-"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
