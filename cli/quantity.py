"""Amounts as people write them on a command line: rates, times and sizes.

Each parser takes the whole text, ignores case and surrounding space, and answers in one base
unit: bits a second, seconds, bytes. Rates count in thousands, as `tc` does; sizes count in
1024s, as nginx does for `client_max_body_size`, because the demo compares itself with that
setting.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from .errors import QuantityError

__all__ = ["parse_duration", "parse_rate", "parse_size"]

_RATE_UNITS: Final[Mapping[str, float]] = MappingProxyType(
    {"bit": 1.0, "kbit": 1e3, "mbit": 1e6, "gbit": 1e9}
)
_DURATION_UNITS: Final[Mapping[str, float]] = MappingProxyType(
    {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
)
_SIZE_UNITS: Final[Mapping[str, float]] = MappingProxyType(
    {"": 1.0, "k": 1024.0, "m": 1024.0**2, "g": 1024.0**3}
)

_AMOUNT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([a-z]*)", re.ASCII)


def parse_rate(text: str) -> float:
    """Read a rate such as `20mbit` or `2.5gbit`, in bits a second, above zero.

    Raises:
        QuantityError: not a number followed by bit, kbit, mbit or gbit, or zero.
    """
    rate = _parse(text, "rate", _RATE_UNITS, "20mbit")
    if rate <= 0:
        raise QuantityError(f"a rate must be above zero, not {text!r}")
    return rate


def parse_duration(text: str) -> float:
    """Read a time such as `40ms` or `1.5s`, in seconds, zero allowed.

    Raises:
        QuantityError: not a number followed by us, ms, s, m, h or d (a bare `0` is understood).
    """
    if text.strip() == "0":
        return 0.0
    return _parse(text, "time", _DURATION_UNITS, "40ms")


def parse_size(text: str) -> int:
    """Read a size such as `1m`, `512k` or `1000`, in bytes (k, m and g count in 1024s).

    Raises:
        QuantityError: not a number alone or followed by k, m or g, or not a whole number of bytes.
    """
    size = _parse(text, "size", _SIZE_UNITS, "1m")
    if not size.is_integer():
        raise QuantityError(f"a size must be a whole number of bytes, not {text!r}")
    return int(size)


def _parse(text: str, what: str, units: Mapping[str, float], example: str) -> float:
    match = _AMOUNT.fullmatch(text.strip().lower())
    if match is None or match[2] not in units:
        known = ", ".join(unit for unit in units if unit)
        raise QuantityError(
            f"{text!r} is not a {what}: write a number and one of {known}, for example {example}"
        )
    return float(match[1]) * units[match[2]]
