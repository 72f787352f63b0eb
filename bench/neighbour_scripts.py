"""What the load generator sends to each kind of server, and what it expects back."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from .caller import UnexpectedAnswerError
from .load import Reply, Request, Script

_SALT_BYTES = 16
_location = re.compile(rb"\r\nlocation: (?:http://[^/\r]+)?([^\r]+)", re.IGNORECASE).search


class Peer(Protocol):
    """How one kind of server is spoken to."""

    def put(self, body: "Body") -> Script:
        """Hand in a body."""
        ...

    def path(self, body: "Body") -> str:
        """Return where a body that was handed in is got."""
        ...


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes in two pieces."""

    common: bytes
    salt: bytes
    sha256: str

    @property
    def size(self) -> int:
        """Bytes in all."""
        return len(self.common) + len(self.salt)


class Bodies:
    """Bodies of one size that differ at their end: no server has seen one before."""

    def __init__(self, common: bytes) -> None:
        """`common` is what they begin with."""
        self._common = common
        self._hash = hashlib.sha256(common)
        self._numbers = count()

    def next(self) -> Body:
        """Return a new one, at the price of hashing its last bytes."""
        salt = next(self._numbers).to_bytes(_SALT_BYTES, "big")
        whole = self._hash.copy()
        whole.update(salt)
        return Body(self._common, salt, whole.hexdigest())


class Coatcheck:
    """`POST /v1/blobs`."""

    def put(self, body: Body) -> Script:
        """Hand in a body."""
        _expect((yield _request("POST", "/v1/blobs", body)), 201)

    def path(self, body: Body) -> str:
        """Return where it is got."""
        return f"/v1/blobs/sha256:{body.sha256}"


class Nginx:
    """PUT by WebDAV, one path for each body."""

    def put(self, body: Body) -> Script:
        """Hand in a body, in the place of one that is there."""
        _expect((yield _request("PUT", self.path(body), body)), 201, 204)

    def path(self, body: Body) -> str:
        """Return where it is got."""
        return f"/{body.sha256}"


class Registry:
    """The distribution API: an upload is begun, and ended with all its bytes at once."""

    def put(self, body: Body) -> Script:
        """Hand in a body."""
        begun = yield _request("POST", "/v2/bench/blobs/uploads/", None)
        _expect(begun, 202)
        place = _location(begun.head)
        if place is None:
            raise UnexpectedAnswerError(f"no location: {begun.head!r}")
        path = f"{place[1].decode()}&digest=sha256:{body.sha256}"
        _expect((yield _request("PUT", path, body)), 201)

    def path(self, body: Body) -> str:
        """Return where it is got."""
        return f"/v2/bench/blobs/sha256:{body.sha256}"


def uploads(peer: Peer, next_body: Callable[[], Body], times: int) -> Script:
    """Hand in so many bodies, one after another."""
    for _ in range(times):
        yield from peer.put(next_body())


def downloads(peer: Peer, body: Body, times: int) -> Script:
    """Get a body so many times, one after another."""
    request = _request("GET", peer.path(body), None)
    for _ in range(times):
        reply = yield request
        _expect(reply, 200)
        if reply.size != body.size:
            raise UnexpectedAnswerError(f"{reply.size} bytes came, not {body.size}")


def _request(method: str, path: str, body: Body | None) -> Request:
    size = body.size if body else 0
    kind = "Content-Type: application/octet-stream\r\n" if body else ""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{kind}Content-Length: {size}\r\n\r\n"
    ).encode()
    return (head, body.common, body.salt) if body else (head,)


def _expect(reply: Reply, *statuses: int) -> None:
    if reply.status not in statuses:
        raise UnexpectedAnswerError(f"{statuses} expected: {reply.head!r}")
