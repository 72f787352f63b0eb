"""Resumable uploads by tus 1.0.0: creation, with upload and with deferred length, expiration, termination.

The rules of uploads are the store's (`store/uploads.py`); here are the fields, and what the protocol
calls things. An upload that is whole becomes a blob in the request that makes it whole, and whose
answer names the blob. Where that request was broken off in between, the next one does it.
"""

from collections.abc import Mapping
from contextlib import aclosing, suppress
from email.utils import formatdate
from typing import Final

from aiohttp import web

from coatcheck.protocol import (
    DIGEST_HEADER,
    REF_HEADER,
    TUS_PATH,
    Digest,
    Problem,
    Ref,
)
from coatcheck.store import NewUpload, Store, StoreError, Upload, UploadNotFoundError
from coatcheck.web import (
    Handler,
    ProblemError,
    body_chunks,
    end_user_of,
    problem_response,
    promised_digest,
    refuse,
    require_identity,
    tenant_of,
)

from .download import send_blob
from .tus_fields import Metadata, read_length, read_metadata, read_offset

EXTENSIONS: Final = "creation,creation-defer-length,creation-with-upload,expiration,termination"
_VERSION = "1.0.0"
_OFFSET_TYPE = "application/offset+octet-stream"
# What we do not do and a client would rely on: better to say so than to leave it out silently.
_UNSUPPORTED = ("Upload-Checksum", "Upload-Concat")


class TusHandlers:
    """One method for each route; a store's errors are translated around them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def options(self, request: web.Request) -> web.StreamResponse:
        """Say what is understood here."""
        return _answer(
            204,
            {
                "Tus-Version": _VERSION,
                "Tus-Extension": EXTENSIONS,
                "Tus-Max-Size": str(self._store.max_blob_bytes),
            },
        )

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Begin an upload, and take what comes of it with the request."""
        _check_request(request)
        headers = request.headers
        has_body = request.body_exists and request.content_length != 0
        if has_body:
            _check_type(request)
        metadata = headers.get("Upload-Metadata")
        read = read_metadata(metadata)
        upload = await self._store.uploads.create(
            NewUpload(
                tenant=tenant_of(request),
                length=read_length(
                    headers.get("Upload-Length"), headers.get("Upload-Defer-Length")
                ),
                media_type=read.media_type,
                promised=_promised(request, read),
                metadata=metadata,
                end_user=end_user_of(request),
            )
        )
        fields = await self._begin(request, upload, has_body=has_body)
        return _answer(201, {"Location": f"{TUS_PATH}/{upload.id}", **fields})

    async def head(self, request: web.Request) -> web.StreamResponse:
        """Say how far an upload has come."""
        _check_version(request)
        upload = await self._find(request)
        fields = await self._state(upload, request)
        if upload.metadata is not None:
            fields["Upload-Metadata"] = upload.metadata
        if upload.length is None:
            fields["Upload-Defer-Length"] = "1"
        else:
            fields["Upload-Length"] = str(upload.length)
        return _answer(200, fields)

    async def patch(self, request: web.Request) -> web.StreamResponse:
        """Append to an upload."""
        _check_request(request)
        _check_type(request)
        offset = read_offset(request.headers.get("Upload-Offset"))
        length = request.headers.get("Upload-Length")
        upload = await self._append(
            request, _id_of(request), offset, None if length is None else read_length(length)
        )
        return _answer(204, await self._state(upload, request))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """End an upload."""
        _check_version(request)
        await self._store.uploads.terminate(tenant_of(request), _id_of(request))
        return _answer(204, {})

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Do what `X-HTTP-Method-Override` says, for clients that know GET and POST alone."""
        methods: Mapping[str, Handler] = {"PATCH": self.patch, "DELETE": self.delete}
        handler = methods.get(request.headers.get("X-HTTP-Method-Override", ""))
        if handler is None:
            error = refuse(
                405,
                "method_not_allowed",
                "Method Not Allowed",
                "an upload takes POST only with X-HTTP-Method-Override: PATCH or DELETE",
            )
            error.headers = {"Allow": "DELETE, GET, HEAD, OPTIONS, PATCH"}
            raise error
        return await handler(request)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Send the blob that an upload has become; outside of the protocol, for its clients."""
        upload = await self._find(request)
        if upload.digest is None:
            raise UploadNotFoundError
        return await send_blob(self._store, request, digest=upload.digest)

    async def _find(self, request: web.Request) -> Upload:
        upload = await self._store.uploads.stat(tenant_of(request), _id_of(request))
        if upload is None:
            raise UploadNotFoundError
        return upload

    async def _begin(
        self, request: web.Request, upload: Upload, *, has_body: bool
    ) -> dict[str, str]:
        """Take what comes with the request, and say how far the upload is then."""
        try:
            if has_body:
                upload = await self._append(request, upload.id, 0, None)
            return await self._state(upload, request)
        except (ProblemError, StoreError):
            # Its client never learns where it is.
            with suppress(StoreError):  # it expires
                await self._store.uploads.terminate(upload.tenant, upload.id)
            raise

    async def _append(
        self, request: web.Request, upload_id: str, offset: int, length: int | None
    ) -> Upload:
        async with aclosing(body_chunks(request, max_bytes=None)) as chunks:
            return await self._store.uploads.append(
                tenant_of(request),
                upload_id,
                offset,
                chunks,
                size=request.content_length,
                length=length,
            )

    async def _state(self, upload: Upload, request: web.Request) -> dict[str, str]:
        """Return where an upload stands, as fields. One that is whole is finished by that."""
        fields = {"Upload-Offset": str(upload.offset)}
        digest = upload.digest
        if digest is None and upload.is_whole:
            receipt = await self._store.uploads.finish(tenant_of(request), upload.id)
            digest = receipt.grant.digest
        if digest is None:
            fields["Upload-Expires"] = formatdate(upload.expires_at, usegmt=True)
        else:
            fields |= {DIGEST_HEADER: digest, REF_HEADER: str(Ref(digest))}
        return fields


def render_tus(request: web.Request, problem: Problem, headers: Mapping[str, str]) -> web.Response:
    """Return a problem as tus clients expect it: with the version of the protocol."""
    return problem_response(problem, {**headers, "Tus-Resumable": _VERSION})


def _answer(status: int, fields: Mapping[str, str]) -> web.Response:
    headers = {"Tus-Resumable": _VERSION, "Cache-Control": "no-store", **fields}
    return web.Response(status=status, headers=headers)


def _check_request(request: web.Request) -> None:
    """Refuse what would bring bytes in a form that is not understood here."""
    _check_version(request)
    require_identity(request)
    for name in _UNSUPPORTED:
        if name in request.headers:
            raise refuse(
                400,
                "tus_extension_unsupported",
                "Unsupported extension",
                f"{name} is not understood here; see Tus-Extension of OPTIONS",
            )


def _check_version(request: web.Request) -> None:
    if request.headers.get("Tus-Resumable") == _VERSION:
        return
    error = refuse(
        412,
        "tus_version_unsupported",
        "Unsupported version",
        f"the request has to say Tus-Resumable: {_VERSION}",
    )
    error.headers = {"Tus-Version": _VERSION}
    raise error


def _check_type(request: web.Request) -> None:
    if request.headers.get("Content-Type", "").strip().lower() != _OFFSET_TYPE:
        raise refuse(
            415,
            "upload_type_unsupported",
            "Unsupported media type",
            f"bytes of an upload come as {_OFFSET_TYPE}",
        )


def _promised(request: web.Request, metadata: Metadata) -> Digest | None:
    """Return the digest that the whole upload is promised to have (RFC 9530 section 3, or metadata)."""
    field = ", ".join(request.headers.getall("Repr-Digest", []))
    digest = promised_digest({"repr-digest": field}) if field else None
    if digest is not None and metadata.digest not in (None, digest):
        raise refuse(
            422,
            "digest_mismatch",
            "Digest mismatch",
            f"Repr-Digest names {digest}, the metadata {metadata.digest}; nothing was read",
        )
    return digest or metadata.digest


def _id_of(request: web.Request) -> str:
    """Return the id in the path; one that no upload can have is asked for like any other."""
    return request.match_info["upload"]
