"""The paths that the Files APIs of several providers share: who is meant answers.

`anthropic-version` means Anthropic, `x-goog-api-key` or the query's `key` Gemini, all else OpenAI.
Each provider has a front, which speaks its API in full, errors included; a path that one provider
alone has is a route of its front's own.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from aiohttp import web

from coatcheck.protocol import OPENAI, Problem, Provider, Scope
from coatcheck.web import (
    END_USER_FIELD,
    Answer,
    Operation,
    Parameter,
    Route,
    provider_of,
    provider_refusal,
)

from .elsewhere import Elsewhere
from .openai_models import DeletedFile, FileObject, FilePage

FILES_PATH = "/v1/files"
_FILE = f"{FILES_PATH}/{{file}}"
_OF_PROVIDER = (
    "The provider whose client asks decides the form: here OpenAI's. `anthropic-version` means "
    "Anthropic, `x-goog-api-key` or `?key=` Gemini."
)


class FilesFront(Protocol):
    """One provider's Files API on the shared paths. The file's id is the path's `file`."""

    @property
    def provider(self) -> Provider:
        """Whose API it is."""
        ...

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Take a file: `POST /v1/files`."""
        ...

    async def list(self, request: web.Request) -> web.StreamResponse:
        """Send a page of the tenant's files: `GET /v1/files`."""
        ...

    async def retrieve(self, request: web.Request) -> web.StreamResponse:
        """Describe a file: `GET /v1/files/{file}`."""
        ...

    async def content(self, request: web.Request) -> web.StreamResponse:
        """Send a file's bytes: `GET /v1/files/{file}/content`."""
        ...

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """End a file: `DELETE /v1/files/{file}`."""
        ...

    def render_problem(
        self, request: web.Request, problem: Problem, headers: Mapping[str, str]
    ) -> web.Response:
        """Return an error as this provider's clients read it."""
        ...


class ForeignFiles:
    """The front of a provider whose files are not kept here: all of them are passed on."""

    def __init__(self, provider: Provider, elsewhere: Elsewhere) -> None:
        self.provider = provider
        """Whose API it is."""
        self.create = elsewhere.pass_on
        self.list = elsewhere.pass_on
        self.retrieve = elsewhere.pass_on
        self.content = elsewhere.pass_on
        self.delete = elsewhere.pass_on

    def render_problem(
        self, request: web.Request, problem: Problem, headers: Mapping[str, str]
    ) -> web.Response:
        """Return an error in the provider's shape."""
        return provider_refusal(request, self.provider, problem, headers)


_Call = Callable[[FilesFront, web.Request], Awaitable[web.StreamResponse]]


class Fronts:
    """All fronts, and which of them a request means."""

    def __init__(self, fronts: Sequence[FilesFront], elsewhere: Elsewhere) -> None:
        self._fronts = {front.provider.name: front for front in fronts}
        self._elsewhere = elsewhere

    def of(self, request: web.Request) -> FilesFront:
        """Return the front that a request means."""
        provider = provider_of(request)
        known = self._fronts.get(provider.name)
        return known or ForeignFiles(provider, self._elsewhere)

    def render_problem(
        self, request: web.Request, problem: Problem, headers: Mapping[str, str]
    ) -> web.Response:
        """Return an error as the client that asks reads it."""
        return self.of(request).render_problem(request, problem, headers)


def files_routes(fronts: Sequence[FilesFront], elsewhere: Elsewhere) -> list[Route]:
    """Return the routes of the shared paths."""
    all_fronts = Fronts(fronts, elsewhere)

    def route(method: str, path: str, call: _Call, operation: Operation, scope: Scope) -> Route:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await call(all_fronts.of(request), request)

        return Route(method, path, handle, operation, all_fronts.render_problem, scope=scope)

    return [
        route("POST", FILES_PATH, lambda front, request: front.create(request), _CREATION, "write"),
        route("GET", FILES_PATH, lambda front, request: front.list(request), _LIST, "read"),
        route("GET", _FILE, lambda front, request: front.retrieve(request), _RETRIEVAL, "read"),
        route(
            "GET",
            f"{_FILE}/content",
            lambda front, request: front.content(request),
            _CONTENT,
            "read",
        ),
        route("DELETE", _FILE, lambda front, request: front.delete(request), _DELETION, "write"),
    ]


def _operation(
    summary: str,
    answer: Answer,
    *,
    body: Sequence[str] | None = None,
    parameters: Sequence[Parameter] = (),
) -> Operation:
    return Operation(
        summary, "files", {200: answer}, body, parameters, _OF_PROVIDER, error=OPENAI.error_model
    )


_CREATION = _operation(
    "Hand in a file",
    Answer("the file", FileObject),
    body=["multipart/form-data"],
    parameters=[END_USER_FIELD],
)
_LIST = _operation(
    "List files",
    Answer("a page", FilePage),
    parameters=(
        Parameter("after", "the id of the last file of the page before"),
        Parameter("limit", "files in the page", schema={"type": "integer", "minimum": 1}),
        Parameter("order", "`asc` or `desc`, by the time of creation"),
        Parameter("purpose", "of this purpose alone"),
    ),
)
_RETRIEVAL = _operation("Describe a file", Answer("the file", FileObject))
_CONTENT = _operation("Get a file's bytes", Answer("the bytes", "*/*"))
_DELETION = _operation("End a file", Answer("it is gone", DeletedFile))
