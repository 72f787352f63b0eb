"""The paths that Gemini's Files API has for itself; those below `/v1` it shares (`files.py`)."""

from collections.abc import Sequence
from dataclasses import replace

from coatcheck.protocol import GEMINI, GEMINI_VERSIONS, UPLOAD_COMMAND, UPLOAD_ID, Scope
from coatcheck.web import (
    END_USER_FIELD,
    Answer,
    Handler,
    Operation,
    Parameter,
    Route,
    upload_refusal,
)

from .gemini_fields import LENGTH, OFFSET, PROTOCOL, TYPE
from .gemini_files import GeminiFiles
from .gemini_models import GeminiFile, GeminiFileAnswer, GeminiFilePage, GeminiGone
from .gemini_uploads import GeminiUploads

_UPLOAD = Operation(
    "Upload a file, resumably or at once",
    "files",
    {
        200: Answer(
            "the file, with its last bytes; before, `X-Goog-Upload-URL` and how far it has come",
            GeminiFileAnswer,
        )
    },
    body=("application/json", "multipart/related", "*/*"),
    parameters=(
        Parameter(UPLOAD_ID, "the upload to go on with; stands for a key"),
        Parameter(PROTOCOL, "`resumable`, or in one request `multipart` or `raw`", "header"),
        Parameter(
            UPLOAD_COMMAND,
            "`start`; for an upload `upload`, `upload, finalize`, `finalize`, `query` or `cancel`",
            "header",
        ),
        Parameter(OFFSET, "where the bytes belong: the end of those that came", "header"),
        Parameter(LENGTH, "bytes in all, at the start", "header"),
        Parameter(TYPE, "the media type, at the start", "header"),
        END_USER_FIELD,
    ),
    description="Problems: `upload_command_invalid`, `upload_protocol_unsupported`, "
    "`upload_not_found`, `upload_offset_mismatch`, `upload_too_long`, `upload_incomplete`, "
    "`file_name_chosen`.",
    error=GEMINI.error_model,
)
_PAGING = (
    Parameter("pageSize", "files in the page", schema={"type": "integer", "minimum": 1}),
    Parameter("pageToken", "`nextPageToken` of the page before"),
)


def gemini_routes(files: GeminiFiles, uploads: GeminiUploads) -> Sequence[Route]:
    """Return the routes of uploads, and those of files below the versions that nobody shares."""
    table = [
        Route(
            "POST",
            f"/upload/{version}/files",
            uploads.post,
            _UPLOAD,
            upload_refusal,
            scope="write",
            capability=UPLOAD_ID,
        )
        for version in GEMINI_VERSIONS
    ]
    for version in GEMINI_VERSIONS:
        if version != "v1":
            table += _file_routes(f"/{version}/files", files)
    return table


def _file_routes(path: str, files: GeminiFiles) -> list[Route]:
    file = f"{path}/{{file}}"

    def route(method: str, at: str, handler: Handler, operation: Operation, scope: Scope) -> Route:
        described = replace(operation, error=GEMINI.error_model)
        return Route(method, at, handler, described, files.render_problem, scope=scope)

    return [
        route("POST", path, files.create, _CREATION, "write"),
        route("GET", path, files.list, _LIST, "read"),
        route("GET", file, files.retrieve, _RETRIEVAL, "read"),
        route("DELETE", file, files.delete, _DELETION, "write"),
    ]


_CREATION = Operation(
    "Make a file without bytes: passed on to Google, or refused",
    "files",
    {200: Answer("the file", "application/json")},
    body=("application/json",),
)
_LIST = Operation("List files", "files", {200: Answer("a page", GeminiFilePage)}, None, _PAGING)
_RETRIEVAL = Operation(
    "Describe a file",
    "files",
    {200: Answer("the file; with `:download` behind its id, the bytes", GeminiFile)},
)
_DELETION = Operation("End a file", "files", {200: Answer("it is gone", GeminiGone)})
