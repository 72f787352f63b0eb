"""The blob routes: hand in, ask, list, pin, let go."""

from contextlib import aclosing

from aiohttp import web

from coatcheck.protocol import (
    BLOB_PATH,
    Digest,
    MissingAnswer,
    MissingRequest,
    Released,
)
from coatcheck.store import BlobTooLargeError, Store
from coatcheck.web import (
    end_user_of,
    json_response,
    least_upload_bytes,
    open_upload,
    read_model,
    refuse,
    tenant_of,
)

from .config import ApiConfig
from .digests import digests_of
from .download import send_blob
from .listing import page_response, read_page
from .models import blob_entry, hold_entry
from .signed_urls import reader_of


class BlobHandlers:
    """One method for each route; a store's errors are translated around them."""

    def __init__(self, store: Store, config: ApiConfig) -> None:
        self._store = store
        self._config = config

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Receive a blob."""
        return await self._receive(request, None)

    async def put(self, request: web.Request) -> web.StreamResponse:
        """Receive a blob that the path promises."""
        return await self._receive(request, _digest_of(request))

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Send a blob, or for HEAD say what would be sent."""
        digest = _digest_of(request)
        reader = reader_of(self._store, request, digest)
        return await send_blob(self._store, request, tenant=reader, digest=digest)

    async def missing(self, request: web.Request) -> web.StreamResponse:
        """Say what has to be uploaded, and renew the leases of the rest."""
        tenant = tenant_of(request)
        body = await read_model(request, MissingRequest, self._config.max_json_bytes)
        answer = await self._store.missing(
            tenant, digests_of(body.digests), end_user=end_user_of(request)
        )
        return json_response(
            MissingAnswer(
                missing=tuple(answer.missing), lease_expires_at=int(answer.lease_expires_at)
            )
        )

    async def list(self, request: web.Request) -> web.StreamResponse:
        """Send one page of the tenant's blobs."""
        return page_response(await read_page(self._store, self._config, request))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Drop the lease and the pin."""
        digest = _digest_of(request)
        holds = await self._store.release(tenant_of(request), digest)
        return json_response(Released(digest=digest, holds=tuple(map(hold_entry, holds))))

    async def pin(self, request: web.Request) -> web.StreamResponse:
        """Keep a blob."""
        grant = await self._store.pin(tenant_of(request), _digest_of(request))
        return json_response(blob_entry(grant))

    async def unpin(self, request: web.Request) -> web.StreamResponse:
        """Let a blob's lease decide again."""
        grant = await self._store.unpin(tenant_of(request), _digest_of(request))
        return json_response(blob_entry(grant))

    async def _receive(self, request: web.Request, named: Digest | None) -> web.StreamResponse:
        tenant, end_user = tenant_of(request), end_user_of(request)
        if least_upload_bytes(request) > self._store.max_blob_bytes:  # before a form is asked for
            raise BlobTooLargeError(self._store.max_blob_bytes)
        upload = await open_upload(request)
        async with aclosing(upload.chunks) as chunks:
            if named is not None and upload.digest not in (None, named):
                raise refuse(
                    422,
                    "digest_mismatch",
                    "Digest mismatch",
                    f"the path names {named}, the digest field {upload.digest}; nothing was read",
                    expected=str(named),
                )
            receipt = await self._store.receive(
                tenant,
                chunks,
                declared_type=upload.media_type,
                expected=named or upload.digest,
                expected_size=upload.size,
                end_user=end_user,
            )
        descriptor = receipt.grant.descriptor
        headers = {"Location": f"{BLOB_PATH}{descriptor.digest}"}
        return json_response(descriptor, status=201, headers=headers)


def _digest_of(request: web.Request) -> Digest:
    return Digest(request.match_info["digest"])
