"""Forwarding over HTTP: one upstream, its connections, and patience with it.

What aiohttp raises stops here. A request is sent once: a model call is not free to repeat, so
deciding to send it again is the client's.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from typing import Self
from urllib.parse import urlsplit

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from coatcheck.client import unread

from .errors import (
    UpstreamConnectTimeoutError,
    UpstreamCutError,
    UpstreamError,
    UpstreamGarbageError,
    UpstreamHungUpError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from .payload import Patience, Payload
from .upstream import Outgoing, Timeouts, UpstreamConfig
from .upstream_socket import open_socket

# Below the five seconds after which common servers close an idle connection: reusing one at the
# moment it closes would fail a request that nothing is wrong with.
_KEEP_ALIVE_SECONDS = 4.0
# Of an answer's header: an upstream is chosen by the operator, and its policies may be long.
_MAX_LINE_BYTES = 64 * 1024
_MAX_HEADERS = 1000
_CODINGS = frozenset({"", "identity", "chunked"})
_NO_AUTO_HEADERS = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class HttpUpstream:
    """An upstream reached over HTTP. Make it inside a running loop; it owns its connections."""

    def __init__(self, config: UpstreamConfig, session: aiohttp.ClientSession) -> None:
        self.config = config
        """Its settings."""
        self._session = session

    @classmethod
    def open(cls, config: UpstreamConfig) -> Self:
        """Make an upstream from its settings."""
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS, socket_factory=open_socket
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=config.timeouts.connect_seconds),
            skip_auto_headers=_NO_AUTO_HEADERS,
            request_class=_Request,
            max_line_size=_MAX_LINE_BYTES,
            max_field_size=_MAX_LINE_BYTES,
            max_headers=_MAX_HEADERS,
        )
        return cls(config, session)

    @asynccontextmanager
    async def send(self, outgoing: Outgoing) -> AsyncGenerator["_HttpAnswer"]:
        """Send a request; see `Upstream.send`."""
        payload = Payload(outgoing.body) if outgoing.body else None
        ends_at = asyncio.get_running_loop().time() + self.config.timeouts.total_seconds
        is_whole = False
        try:
            response = await self._request(outgoing, payload, ends_at)
            try:
                yield _HttpAnswer(response, self.config, ends_at)
            finally:
                is_whole = response.content.is_eof() and (payload is None or payload.is_sent)
                response.release() if is_whole else response.close()
        finally:
            if payload and not is_whole:
                payload.abort()
                await payload.settle()

    async def close(self) -> None:
        """Close every connection. May be called twice."""
        await self._session.close()

    async def _request(
        self, outgoing: Outgoing, payload: Payload | None, ends_at: float
    ) -> aiohttp.ClientResponse:
        try:
            async with asyncio.timeout(None) as deadline:
                patience = Patience(deadline, self.config.timeouts.first_byte_seconds, ends_at)
                if payload:
                    payload.patience = patience
                try:
                    response = await self._session.request(
                        outgoing.method,
                        self._url(outgoing.path),
                        data=payload,
                        headers=_alike(outgoing.headers),
                        allow_redirects=False,
                    )
                finally:
                    patience.end()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            if payload and payload.failure:
                raise payload.failure from error
            is_over = asyncio.get_running_loop().time() >= ends_at
            raise _translated(error, self.config, is_over=is_over) from error
        if not _is_readable(response):
            response.close()
            raise UpstreamGarbageError(f"upstream {self.config.name} answered what cannot be read")
        return response

    def _url(self, path: str) -> URL:
        """Return the target; yarl writes a path as it is, and would drop an empty query."""
        base = urlsplit(self.config.base_url)
        return URL.build(
            scheme=base.scheme,
            authority=base.netloc,
            path=base.path.rstrip("/") + path,
            encoded=True,
        )


def _is_readable(response: aiohttp.ClientResponse) -> bool:
    """Whether an answer has a final status, and comes in no transfer coding that we do not undo.

    101 would turn the client's connection into something that neither side asked for.
    """
    coding = ",".join(response.headers.getall("Transfer-Encoding", ())).strip().lower()
    return 200 <= response.status <= 599 and coding in _CODINGS


def _alike(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Spell a repeated name as it was first, since aiohttp would drop the others' values."""
    spelled: dict[str, str] = {}
    return [(spelled.setdefault(name.lower(), name), value) for name, value in headers]


class _Request(aiohttp.ClientRequest):
    """A request that says nothing of a body where it has none, whatever its method.

    aiohttp would add `Content-Length: 0` to a DELETE, which clients do not send.
    """

    GET_METHODS = aiohttp.ClientRequest.ALL_METHODS


class _HttpAnswer:
    """An answer over HTTP."""

    def __init__(
        self, response: aiohttp.ClientResponse, config: UpstreamConfig, ends_at: float
    ) -> None:
        self._response = response
        self._name = config.name
        self._timeouts = config.timeouts
        self._broken: Exception | None = None
        self._ends_at = ends_at

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        return self._response.headers

    async def chunks(self) -> AsyncGenerator[bytes]:
        while chunk := await self._read():
            yield chunk

    async def _read(self) -> bytes:
        if self._broken:
            raise self._cut() from self._broken
        content = self._response.content
        now = asyncio.get_running_loop().time()
        idle_ends_at = now + self._timeouts.idle_seconds
        try:
            # What is here needs no timer, which costs as much as passing it on.
            if now < self._ends_at and ((here := content.read_nowait()) or content.at_eof()):
                return here
            async with asyncio.timeout_at(min(idle_ends_at, self._ends_at)):
                return await content.readany()
        except TimeoutError as error:
            limit = "idle_seconds" if idle_ends_at <= self._ends_at else "total_seconds"
            raise UpstreamTimeoutError(_too_slow(self._name, limit, self._timeouts)) from error
        except (aiohttp.ClientError, OSError) as error:
            self._broken = error
            if rest := unread(self._response.content):
                return rest
            raise self._cut() from error

    def _cut(self) -> UpstreamCutError:
        return UpstreamCutError(f"upstream {self._name} broke off its answer")


def _translated(error: Exception, config: UpstreamConfig, *, is_over: bool) -> UpstreamError:
    name = config.name
    match error:
        case aiohttp.ConnectionTimeoutError():
            return UpstreamConnectTimeoutError(_too_slow(name, "connect_seconds", config.timeouts))
        case TimeoutError():
            limit = "total_seconds" if is_over else "first_byte_seconds"
            return UpstreamTimeoutError(_too_slow(name, limit, config.timeouts))
        case aiohttp.ClientConnectorError():
            return UpstreamUnreachableError(f"upstream {name} cannot be reached")
        case aiohttp.InvalidURL() | ValueError():
            return UpstreamError(f"upstream {name} has a base_url that is no URL")
        case aiohttp.ClientResponseError():
            return UpstreamGarbageError(f"upstream {name} answered something that is not HTTP")
        case _:
            return UpstreamHungUpError(f"upstream {name} hung up without an answer")


def _too_slow(name: str, limit: str, timeouts: Timeouts) -> str:
    return f"upstream {name} took longer than its {limit} of {getattr(timeouts, limit):g}"
