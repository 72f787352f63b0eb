"""What a hook hands to the transport beside a request: the body before anybody wrote it as JSON."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

HANDED = "coatcheck"
"""The key of a request's extensions that a `Handed` stands under."""


@dataclass(frozen=True, slots=True)
class Handed:
    """A body, and how its SDK writes it. The request that it comes with has a stand-in for it."""

    body: Mapping[str, object]
    write: Callable[[], bytes]
