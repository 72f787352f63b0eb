"""What a transport decides about an SDK's requests, without waiting for anything.

One office belongs to one wrapped client and its copies. It is safe for threads and tasks.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from coatcheck.protocol import DIALECTS, KEY_HEADER, Dialect

from ..exchange import Request
from ..known import Known
from .address import Address
from .library import Library
from .sources import Sources

if TYPE_CHECKING:
    import httpx2

Fallback: TypeAlias = Literal["direct"]
"""Where turns go while Coatcheck is away: `direct`, to the provider, with their images inline."""

_OF_THE_BODY = frozenset({"content-length", "transfer-encoding"})
_OF_THE_CONNECTION = frozenset({"host", "connection"})
_NOT_THE_TURNS = _OF_THE_BODY | _OF_THE_CONNECTION
_OF_THE_TURN = frozenset({"accept", "accept-encoding", "content-type", "idempotency-key"})


@dataclass(frozen=True, slots=True)
class Office:
    """Where requests go and as whom, what is known there, and what is done while nobody answers."""

    library: Library
    address: Address
    known: Known
    key: str | None = field(default=None, repr=False)
    fallback: Fallback | None = None
    sources: Sources = field(default_factory=Sources)

    def dialect_of(self, request: "httpx2.Request", url: "httpx2.URL") -> Dialect | None:
        """Return what a request to `url` is written in, where it carries messages as JSON."""
        headers = request.headers
        is_json = headers.get("content-type", "").partition(";")[0].strip() == "application/json"
        if request.method != "POST" or not is_json or "content-encoding" in headers:
            return None
        for dialect in DIALECTS.values():
            if any(call.fits(url.path) for call in dialect.calls):
                return dialect
        return None

    def turn_headers(self, request: "httpx2.Request") -> dict[str, str]:
        """Return what goes with a turn: all that the SDK sends, but for what the body decides."""
        return {
            name: value for name, value in request.headers.items() if name not in _NOT_THE_TURNS
        }

    def moved(self, request: "httpx2.Request", url: "httpx2.URL") -> "httpx2.Request":
        """Return a request that is no turn as it goes to Coatcheck, under the same body."""
        if request.url == url and self.key is None:
            return request
        headers = [
            (name, value)
            for name, value in request.headers.multi_items()
            if name not in _OF_THE_CONNECTION
        ]
        headers.append(("host", url.netloc.decode("ascii")))
        if self.key is not None:
            headers.append((KEY_HEADER, self.key))
        return self.library.request(
            request.method,
            url,
            headers=headers,
            stream=request.stream,
            extensions=request.extensions,
        )

    def step_headers(self, step: Request, request: "httpx2.Request") -> list[tuple[bytes, bytes]]:
        """Return the headers of one of the requests that a turn takes: who asks is said with each."""
        headers = {name.lower(): value for name, value in step.headers.items()}
        if not step.keep_open:  # the turn's own has them all already
            headers = {**self._of_client(request), "accept-encoding": "identity", **headers}
        if self.key is not None:
            headers[KEY_HEADER.lower()] = self.key
        if step.body is not None and not isinstance(step.body, bytes):
            headers["content-length"] = str(step.body.size)
        return [(name.encode(), value.encode()) for name, value in headers.items()]

    def _of_client(self, request: "httpx2.Request") -> dict[str, str]:
        """Return what an SDK sends with whatever it asks."""
        return {
            name: value
            for name, value in self.turn_headers(request).items()
            if name not in _OF_THE_TURN and not name.startswith("x-stainless-")
        }
