"""A client that costs as little as it can: one kept-alive connection, prepared bodies."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from types import TracebackType
from typing import Self

_TIMEOUT_SECONDS = 60.0
_DRAIN_BYTES = 1024 * 1024


class UnexpectedAnswerError(Exception):
    """A server under measurement did not do its work, so that its figures mean nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, and how long it took from the first byte sent to the last received."""

    seconds: float
    size: int
    body: bytes
    """At most the first 1 MiB."""

    @property
    def told(self) -> Mapping[str, object]:
        """What the upstream says it received: `bytes` and `xxh3`."""
        told: Mapping[str, object] = json.loads(
            json.loads(self.body)["choices"][0]["message"]["content"]
        )
        return told


class Caller:
    """One connection to one server; close it by leaving it."""

    def __init__(self, port: int) -> None:
        """Prepare a connection to a port of this host."""
        self._connection = HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)

    def __enter__(self) -> Self:
        """Return itself; the connection opens at the first call."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self._connection.close()

    def turn(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a turn and read the whole answer.

        Raises:
            UnexpectedAnswerError: the status is not 200.
        """
        return self._post(path, body, {"Content-Type": "application/json", **(headers or {})}, 200)

    def upload(self, image: bytes) -> str:
        """Hand in an image and return its ref.

        Raises:
            UnexpectedAnswerError: the status is not 201.
        """
        answer = self._post("/v1/blobs", image, {"Content-Type": "image/jpeg"}, 201)
        ref: str = json.loads(answer.body)["ref"]
        return ref

    def _post(self, path: str, body: bytes, headers: Mapping[str, str], status: int) -> Answer:
        began = time.perf_counter()
        self._connection.request("POST", path, body, dict(headers))
        response = self._connection.getresponse()
        first = response.read(_DRAIN_BYTES)
        size = len(first)
        while data := response.read(_DRAIN_BYTES):
            size += len(data)
        seconds = time.perf_counter() - began
        if response.status != status:
            raise UnexpectedAnswerError(f"{path}: {response.status} {first[:500]!r}")
        return Answer(seconds, size, first)
