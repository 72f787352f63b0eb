"""The store's client routes, passed through, so that one base URL serves every client.

What comes goes on as it is, both ways, streamed, with the client's own key: the store decides, also
whether it wants the body of a client that waits to be asked for it. Only a daemon's key may say for
whom it speaks.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, aclosing

from aiohttp import web

from coatcheck.protocol import (
    BLOB_PATH,
    DAEMON_HEADER,
    KEY_HEADER,
    TENANT_HEADER,
    TUS_PATH,
    Buffer,
    Digest,
    InvalidDigestError,
    Scope,
)
from coatcheck.web import (
    ANY_METHOD,
    BrokenAnswerError,
    ProblemError,
    Route,
    expects_continue,
    is_known,
    principal_of,
    tenant_of,
)

from .availability import Availability
from .errors import DaemonError
from .headers import store_answer_headers, store_request_headers
from .incoming import Incoming
from .passage import edges_header, first_hop, key_of
from .target import store_target
from .upstream import Answer, Outgoing, Upstream

_BLOBS = BLOB_PATH.rstrip("/")
_BLOB = f"{BLOB_PATH}{{digest}}"
# As the store has them, so that a key that may only read is told so here too. What else there is
# below the blobs is the store's to know.
_ROUTES: tuple[tuple[str, str, Scope], ...] = (
    ("GET", _BLOBS, "read"),
    ("POST", _BLOBS, "write"),
    ("POST", f"{BLOB_PATH}missing", "read"),
    ("PUT", _BLOB, "write"),
    ("DELETE", _BLOB, "write"),
    ("PUT", f"{_BLOB}/pin", "write"),
    ("DELETE", f"{_BLOB}/pin", "write"),
    ("POST", f"{_BLOB}/signed-url", "read"),
    (ANY_METHOD, f"{BLOB_PATH}{{path:(?s:.*)}}", "read"),
    ("GET", f"{TUS_PATH}/{{upload}}", "read"),
    ("HEAD", f"{TUS_PATH}/{{upload}}", "write"),
    (ANY_METHOD, TUS_PATH, "write"),
    (ANY_METHOD, f"{TUS_PATH}/{{upload}}", "write"),
)

Released = Callable[[str, Digest], Awaitable[None]]


class StorePassage:
    """Passes requests on to the store. Owns nothing; `released` is told of each DELETE of a blob."""

    def __init__(
        self,
        store: Upstream,
        name: str | None,
        availability: Availability,
        released: Released,
        key: str | None = None,
    ) -> None:
        """`name` is what this daemon calls itself to the store; None where that is a daemon itself.

        `key` goes with the requests of clients that have none of ours.
        """
        self._store = store
        self._name = name
        self._key = key
        self._availability = availability
        self._released = released

    def routes(self) -> list[Route]:
        """Return the routes that are passed through; the store's own document describes them."""
        return [Route(method, path, self.serve, scope=scope) for method, path, scope in _ROUTES]

    async def serve(
        self,
        request: web.Request,
        body: AsyncGenerator[bytes] | None = None,
        marks: Sequence[tuple[str, str]] = (),
    ) -> web.StreamResponse:
        """Pass a request on, and the answer back.

        `body` yields the request's body, where some of that was read before; it is closed. `marks`
        are headers in place of those that do not go on.

        Raises:
            ProblemError: 503 `store_unavailable`; 502 `store_failed`; 403 `tenant_foreign`; 400
                `path_invalid`.
            BrokenAnswerError: the store broke off its answer.
        """
        is_daemon = is_known(request) and principal_of(request).tenant is None
        tenant = _tenant(request, is_daemon=is_daemon)
        headers = store_request_headers(request.headers.items(), keeps_tenant=is_daemon)
        headers.append(self._hop(request))
        if self._key is not None and key_of(request) is None:
            headers.append((KEY_HEADER, self._key))
        headers += [*first_hop(request), *marks]
        if body is None and expects_continue(request):
            headers.append(("Expect", "100-continue"))  # the client is told what the store tells us
        incoming = Incoming(request, body)
        try:
            target = store_target(request.rel_url.raw_path_qs)
            outgoing = Outgoing(request.method, target, headers, incoming.body(_uncounted))
            async with AsyncExitStack() as stack:
                answer = await self._answer(outgoing, stack)
                await self._forget(tenant, request)  # before the client knows, and goes on
                return await _relay(request, answer)
        except DaemonError as error:
            await self._forget(tenant, request)  # the store may have acted
            raise ProblemError(error.problem) from error
        finally:
            await incoming.close()

    def _hop(self, request: web.Request) -> tuple[str, str]:
        """Return what tells the server behind us who passes a request on."""
        if self._name is not None:
            return DAEMON_HEADER, self._name
        try:
            return edges_header(request)
        except DaemonError as error:
            raise ProblemError(error.problem) from error

    async def _answer(self, outgoing: Outgoing, stack: AsyncExitStack) -> Answer:
        """Return the store's answer, which the stack closes."""
        async with self._availability.asking() as question:
            answer = await stack.enter_async_context(self._store.send(outgoing))
            question.status = answer.status
        return answer

    async def _forget(self, tenant: str | None, request: web.Request) -> None:
        if request.method != "DELETE" or tenant is None:
            return
        try:
            digest = Digest(request.match_info.get("digest", ""))
        except InvalidDigestError:
            return  # the store has said so
        await self._released(tenant, digest)


def _tenant(request: web.Request, *, is_daemon: bool) -> str | None:
    """Return whose request it is, where that is to be seen here."""
    if not is_known(request) or (is_daemon and TENANT_HEADER not in request.headers):
        return None
    return tenant_of(request)


async def _relay(request: web.Request, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status)
    response.headers.extend(store_answer_headers(answer.headers.items()))
    if not request.content.is_eof():
        response.force_close()  # what is left of the body is not a request
    await response.prepare(request)
    try:
        async with aclosing(answer.chunks()) as chunks:
            async for chunk in chunks:
                await response.write(chunk)
    except DaemonError as error:
        raise BrokenAnswerError(str(error)) from error
    await response.write_eof()
    return response


def _uncounted(chunk: Buffer) -> None:
    """Nobody observes what clients tell the store."""
