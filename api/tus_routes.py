"""The routes of resumable uploads by tus 1.0.0."""

from collections.abc import Sequence

from coatcheck.protocol import TUS_PATH, Scope
from coatcheck.store import Store
from coatcheck.web import (
    BLOB_CONDITIONS,
    END_USER_FIELD,
    Answer,
    Handler,
    Operation,
    Parameter,
    Route,
)

from .tus import TusHandlers, render_tus

_UPLOAD = f"{TUS_PATH}/{{upload}}"
_BYTES = ("application/offset+octet-stream",)
_VERSION = Parameter("Tus-Resumable", "1.0.0, the version of the protocol", "header")
_LENGTH = Parameter("Upload-Length", "bytes in all", "header")
_CREATION = (
    _VERSION,
    _LENGTH,
    Parameter("Upload-Defer-Length", "1: the length comes later", "header"),
    Parameter(
        "Upload-Metadata",
        "`filetype`, the media type, and `digest`, compared; what else there is, is given back",
        "header",
    ),
    Parameter("Repr-Digest", "SHA-256 of the whole upload (RFC 9530); compared", "header"),
    END_USER_FIELD,
)
_APPENDING = (
    _VERSION,
    Parameter("Upload-Offset", "where the bytes belong: the end of those that came", "header"),
    _LENGTH,
)
_OVERRIDE = Parameter("X-HTTP-Method-Override", "`PATCH` or `DELETE`", "header")
_UNDERSTOOD = {204: Answer("`Tus-Version`, `Tus-Extension` and `Tus-Max-Size`")}
_APPENDED = {204: Answer("`Upload-Offset`, and the blob where the upload is whole")}


def tus_routes(store: Store) -> Sequence[Route]:
    """Return the routes; their errors are problems with the version of the protocol."""
    tus = TusHandlers(store)
    return [
        _route(
            "OPTIONS",
            TUS_PATH,
            tus.options,
            Operation("Say what is understood", "tus", _UNDERSTOOD),
        ),
        _route(
            "POST",
            TUS_PATH,
            tus.create,
            Operation(
                "Begin an upload",
                "tus",
                {201: Answer("`Location`; with a body, `Upload-Offset` as for PATCH")},
                body=_BYTES,
                parameters=_CREATION,
                description="A body is the beginning of the upload, and may be left out. Problems: "
                "`upload_length_invalid`, `upload_metadata_invalid`, `blob_too_large`, "
                "`too_many_uploads`, `quota_exceeded`, `store_full`.",
            ),
        ),
        *_upload_routes(tus),
    ]


def _upload_routes(tus: TusHandlers) -> list[Route]:
    return [
        _route(
            "OPTIONS", _UPLOAD, tus.options, Operation("Say what is understood", "tus", _UNDERSTOOD)
        ),
        _route(
            "HEAD",
            _UPLOAD,
            tus.head,
            Operation(
                "Say how far an upload has come",
                "tus",
                {200: Answer("`Upload-Offset`, and the blob where the upload is finished")},
                parameters=(_VERSION,),
            ),
        ),
        _route(
            "PATCH",
            _UPLOAD,
            tus.patch,
            Operation(
                "Append to an upload",
                "tus",
                _APPENDED,
                body=_BYTES,
                parameters=_APPENDING,
                description="What arrives is kept, also when the connection breaks. Problems: "
                "`upload_not_found`, `upload_offset_mismatch`, `upload_locked`, `upload_too_long`, "
                "`digest_mismatch`, `store_full`.",
            ),
        ),
        _route(
            "DELETE",
            _UPLOAD,
            tus.delete,
            Operation(
                "End an upload", "tus", {204: Answer("it is forgotten")}, parameters=(_VERSION,)
            ),
        ),
        _route(
            "POST",
            _UPLOAD,
            tus.post,
            Operation(
                "PATCH or DELETE, for clients that cannot",
                "tus",
                _APPENDED,
                body=_BYTES,
                parameters=(*_APPENDING, _OVERRIDE),
            ),
        ),
        _route(
            "GET",
            _UPLOAD,
            tus.get,
            Operation(
                "Get the blob that an upload has become",
                "tus",
                {
                    200: Answer("the bytes", "*/*"),
                    206: Answer("the range asked for", "*/*"),
                    304: Answer("the client has them"),
                },
                None,
                BLOB_CONDITIONS,
            ),
            scope="read",
        ),
    ]


def _route(
    method: str, path: str, handler: Handler, operation: Operation, scope: Scope = "write"
) -> Route:
    return Route(method, path, handler, operation, render_tus, scope=scope)
