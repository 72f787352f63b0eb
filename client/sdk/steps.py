"""What a plan asks of a transport: a plan decides, a transport awaits.

A plan yields steps and is sent their outcome; one that fails is thrown in where the plan stands, as in
`client.exchange`. It ends with the response that the SDK gets.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from ..exchange import Join, Outgoing, Work

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Load:
    """Read the body of the SDK's request. May be done twice."""

    request: "httpx2.Request"

    def __iter__(self) -> "Generator[Load, object, bytes]":
        return cast("bytes", (yield self))


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request, with `body` where it is one that is read meanwhile; get the open response."""

    request: "httpx2.Request"
    body: Outgoing | None = None

    def __iter__(self) -> "Generator[Send, object, httpx2.Response]":
        return cast("httpx2.Response", (yield self))


@dataclass(frozen=True, slots=True)
class Drain:
    """Read the bytes of a response as they are on the wire, up to a bound, and close it."""

    response: "httpx2.Response"

    def __iter__(self) -> "Generator[Drain, object, bytes]":
        return cast("bytes", (yield self))


@dataclass(frozen=True, slots=True)
class Drop:
    """Close a response that nobody reads to its end."""

    response: "httpx2.Response"

    def __iter__(self) -> "Generator[Drop, object, None]":
        yield self


Step: TypeAlias = Load | Send | Drain | Drop | Join | Work[object]
Plan: TypeAlias = Generator[Step, object, T]
