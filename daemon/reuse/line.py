"""A line to a provider's Files API: requests go over the upstream's own connections."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from urllib.parse import urlsplit

from coatcheck.protocol import Buffer, Json, JsonObject, piece_count

from ..body import Body, RawBody
from ..errors import DaemonError
from ..peeked import peek
from ..source import PieceReader
from ..upstream import Outgoing
from .errors import FileRefusedError, OwnerRefusedError
from .mode import Headers
from .offer import Offer
from .owner import Owner

# A provider that says so of one file would say it of any, or may take this one later.
_OF_THE_OWNER = frozenset({401, 402, 403, 404, 405, 408, 425, 429, 501})
_NO_JSON: JsonObject = {}


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered: its body as an object, empty where it is none."""

    status: int
    headers: Mapping[str, str]
    body: JsonObject

    @property
    def is_good(self) -> bool:
        """Whether it was done."""
        return 200 <= self.status < 300

    def checked(self) -> "Reply":
        """Return it if it was done.

        Raises:
            OwnerRefusedError: it was not, and what else were sent would not be now.
            FileRefusedError: it was not, and never will be.
        """
        if self.is_good:
            return self
        if self.status in _OF_THE_OWNER or self.status >= 500:
            raise OwnerRefusedError(f"answered {self.status}", self._retry_after())
        raise FileRefusedError(f"answered {self.status}")

    def _retry_after(self) -> float | None:
        """Return what Retry-After says in seconds (RFC 9110 section 10.2.3); None for a date."""
        value = self.headers.get("Retry-After", "")
        return float(value) if value.isdecimal() and len(value) < 9 else None


class Line:
    """Asks in the name of one owner."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner

    @property
    def turn_path(self) -> str:
        """The path of the turn that asks; empty where none does."""
        return self._owner.path

    @property
    def headers(self) -> Headers:
        """What every request has."""
        return self._owner.headers

    def path_of(self, url: str) -> str:
        """Return what stands behind the upstream's base URL in a URL that it gave.

        It is asked at the upstream's own address, whatever host it names, as its SDKs do.
        """
        parts = urlsplit(url)
        base = urlsplit(self._owner.upstream.config.base_url).path.rstrip("/")
        return parts.path.removeprefix(base) + ("?" + parts.query if parts.query else "")

    async def ask(
        self, method: str, path: str, headers: Headers = (), body: Body | bytes | None = None
    ) -> Reply:
        """Send one request; `path` stands behind the upstream's base URL.

        Raises:
            OwnerRefusedError: there is no answer.
        """
        owner = self._owner
        mark = "&" if "?" in path else "?"
        query = mark + owner.query[1:] if owner.query else ""
        sent: Body | None = RawBody(body) if isinstance(body, bytes) else body
        outgoing = Outgoing(method, path + query, [*owner.headers, *headers], sent)
        try:
            async with owner.upstream.send(outgoing) as answer:
                peeked = await peek(answer)
                try:
                    found: Json = peeked.refusal.body
                finally:
                    await peeked.close()
                said = found if isinstance(found, dict) else _NO_JSON
                return Reply(answer.status, answer.headers, said)
        except DaemonError as error:
            raise OwnerRefusedError(str(error)) from error


class FileBody:
    """A file's bytes on their way to a provider, with what stands before and behind them."""

    def __init__(self, offer: Offer, head: bytes = b"", tail: bytes = b"") -> None:
        """Read once, a piece at a time, each verified."""
        self._offer = offer
        self._head = head
        self._tail = tail

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self._head) + self._offer.size + len(self._tail)

    async def chunks(self) -> AsyncGenerator[Buffer]:
        """Yield them; see `Body.chunks`."""
        if self._head:
            yield self._head
        async with aclosing(self._pieces()) as pieces:
            async for piece in pieces:
                yield piece
        if self._tail:
            yield self._tail

    async def _pieces(self) -> AsyncGenerator[Buffer]:
        reader: PieceReader = await self._offer.open()
        try:
            for index in range(piece_count(reader.size)):
                yield await reader.read_piece(index)
        finally:
            await reader.close()


def form(
    offer: Offer, fields: Sequence[tuple[str, str]], boundary: str
) -> tuple[Headers, FileBody]:
    """Return a form of fields and, behind them, the file (RFC 7578), with its headers.

    `boundary` is random, so that nothing in the file can be one.
    """
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields
    ]
    filename = offer.filename.translate(_QUOTED)
    head = (
        f'{"".join(parts)}--{boundary}\r\nContent-Disposition: form-data; name="file"; '
        f'filename="{filename}"\r\nContent-Type: {offer.media_type}\r\n\r\n'
    )
    headers = [("Content-Type", f"multipart/form-data; boundary={boundary}")]
    return headers, FileBody(offer, head.encode(), f"\r\n--{boundary}--\r\n".encode())


# RFC 7578 section 2, by way of the URL standard: how clients write these in a name.
_QUOTED = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})
