"""Signed URLs of blobs: given to whoever has a key, and good for whoever has none.

Such a URL leads to the first of the origins under which clients know this server, or else to the one
by which it was asked for: whoever is to fetch it has to reach that.
"""

from aiohttp import web

from coatcheck.protocol import (
    BLOB_PATH,
    EXPIRES_PARAMETER,
    SIGNATURE_PARAMETER,
    Digest,
    SignedUrl,
    SignedUrlRequest,
    signed_url,
)
from coatcheck.store import BlobNotFoundError, Store
from coatcheck.web import (
    Answer,
    Operation,
    Route,
    client_origin,
    is_known,
    json_response,
    principal_of,
    read_model,
    tenant_of,
)

from .config import ApiConfig

_UNCACHED = {"Cache-Control": "no-store"}


class SignedUrlHandlers:
    """Gives signed URLs; a store's errors are translated around it."""

    def __init__(self, store: Store, config: ApiConfig) -> None:
        self._store = store
        self._config = config

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Sign a URL of a blob that the tenant holds; a use of it."""
        tenant, digest = tenant_of(request), Digest(request.match_info["digest"])
        asked = await read_model(request, SignedUrlRequest, self._config.max_json_bytes)
        origin = self._config.public_origin or client_origin(request)
        if digest not in await self._store.stat_many(tenant, [digest]):
            raise BlobNotFoundError(digest)
        signed = self._store.signed_urls.sign(tenant, digest, asked.expires_seconds)
        answer = SignedUrl(
            url=signed_url(origin, digest, signed.expires_at, signed.signature),
            expires_at=signed.expires_at,
            same_until=signed.same_until,
        )
        return json_response(answer, headers=_UNCACHED)


def reader_of(store: Store, request: web.Request, digest: Digest) -> str:
    """Return the tenant for whom a blob is read: by the key, or where there is none by the signature.

    A store without keys knows everybody, and believes a signature all the same, so that a URL ends
    there when it says.

    Raises:
        SignatureInvalidError, SignatureExpiredError: the URL's signature opens nothing.
        ProblemError: as `tenant_of`.
    """
    query = request.query
    is_somebody = is_known(request) and not principal_of(request).is_open
    if is_somebody or SIGNATURE_PARAMETER not in query:
        return tenant_of(request)
    return store.signed_urls.read(
        digest, query.get(EXPIRES_PARAMETER, ""), query[SIGNATURE_PARAMETER]
    )


def signed_url_route(signed: SignedUrlHandlers) -> Route:
    """Return the route that gives signed URLs."""
    return Route(
        "POST",
        f"{BLOB_PATH}{{digest}}/signed-url",
        signed.post,
        Operation(
            "Sign a URL that opens the blob without a key",
            "blobs",
            {200: Answer("the URL, and its end", SignedUrl)},
            body=SignedUrlRequest,
            description="For providers that fetch. The same question has the same answer within a "
            "window; the URL opens the blob for GET and HEAD, until it expires and while the tenant "
            "holds the blob.",
        ),
        scope="read",
    )
