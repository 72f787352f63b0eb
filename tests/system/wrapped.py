"""SDKs' clients, plain and wrapped, and what the wrapped ones send."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from coatcheck.protocol import Digest

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def picture(number: int, size: int = 30_000) -> bytes:
    """Return a picture of its own; bytes after an image's end are kept."""
    return PIXEL + number.to_bytes(4, "big") + bytes(size)


def text_of(data: bytes) -> str:
    """Return bytes as base64."""
    return base64.b64encode(data).decode()


@dataclass
class Seen:
    """What a client sent, as its connection's hook sees it."""

    requests: list[tuple[str, str, bytes]] = field(default_factory=list[tuple[str, str, bytes]])

    def note(self, request: httpx2.Request) -> None:
        """Note a request; one whose body is read while it is sent counts as empty."""
        try:
            content = request.content
        except httpx2.RequestNotRead:
            content = b""
        self.requests.append((request.method, request.url.path, content))

    async def note_async(self, request: httpx2.Request) -> None:
        """Note a request."""
        self.note(request)

    def client(self) -> httpx2.Client:
        """Return a client whose requests are noted."""
        return httpx2.Client(event_hooks={"request": [self.note]})

    def async_client(self) -> httpx2.AsyncClient:
        """Return a client whose requests are noted."""
        return httpx2.AsyncClient(event_hooks={"request": [self.note_async]})

    @property
    def uploads(self) -> list[Digest]:
        """Which blobs were uploaded, each time."""
        return [
            Digest(path.rpartition("/")[2]) for method, path, _ in self.requests if method == "PUT"
        ]

    def turns(self, path: str) -> list[Mapping[str, Any]]:
        """Return the bodies that were sent to a path."""
        return [json.loads(body) for _, sent_to, body in self.requests if sent_to == path]

    @property
    def largest(self) -> int:
        """The longest body that was no blob's."""
        return max(len(body) for method, _, body in self.requests if method != "PUT")


Call = Callable[[], object]
