"""What daemons ask about a tenant's blobs, many in one round trip."""

from aiohttp import web

from coatcheck.protocol import (
    RESOLVE_PATH,
    Digest,
    MissingName,
    ResolveAnswer,
    ResolvedBlob,
    ResolveRequest,
)
from coatcheck.store import Grant, Store
from coatcheck.web import Answer, Operation, Route, json_response, read_model, tenant_of

from .config import ApiConfig
from .digests import digests_of


def resolve_routes(store: Store, config: ApiConfig) -> list[Route]:
    """Return the route that resolves names for a tenant."""

    async def resolve(request: web.Request) -> web.StreamResponse:
        tenant = tenant_of(request)
        asked = await read_model(request, ResolveRequest, config.max_resolve_bytes)
        digests = list(dict.fromkeys(digests_of(asked.digests)))
        held = await store.stat_many(tenant, digests, renew=asked.is_use)
        return json_response(_answer(asked, digests, held))

    return [
        Route(
            "POST",
            RESOLVE_PATH,
            resolve,
            Operation(
                "Say what of this a tenant holds",
                "daemons",
                {200: Answer("each name, held or missing", ResolveAnswer)},
                body=ResolveRequest,
                description="For daemons. A use, unless it says otherwise: renews the leases of what "
                "is held.",
            ),
            scope="gateway",
        )
    ]


def _answer(
    asked: ResolveRequest, digests: list[Digest], held: dict[Digest, Grant]
) -> ResolveAnswer:
    """No file ids are given out yet, so none of them names anything."""
    missing = [MissingName(digest=digest) for digest in digests if digest not in held]
    unknown = [MissingName(file_id=name) for name in dict.fromkeys(asked.file_ids)]
    return ResolveAnswer(
        blobs=tuple(_resolved(held[digest]) for digest in digests if digest in held),
        missing=(*missing, *unknown),
    )


def _resolved(grant: Grant) -> ResolvedBlob:
    return ResolvedBlob(**dict(grant.descriptor), sniffed_type=grant.sniffed_type)
