"""What daemons ask about a tenant's blobs, many in one round trip."""

from collections.abc import Mapping, Sequence

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
        files = await store.files.find_many(tenant, asked.file_ids)
        named = {file_id: file.grant.digest for file_id, file in files.items()}
        wanted = list(dict.fromkeys([*digests, *named.values()]))
        held = await store.stat_many(tenant, wanted, renew=asked.is_use)
        return json_response(_answer(asked, digests, named, held))

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
    asked: ResolveRequest,
    digests: Sequence[Digest],
    named: Mapping[str, Digest],
    held: Mapping[Digest, Grant],
) -> ResolveAnswer:
    """Say of each digest and file id, as it was asked for, what it names."""
    blobs = [_resolved(held[digest]) for digest in digests if digest in held]
    missing = [MissingName(digest=digest) for digest in digests if digest not in held]
    for file_id in dict.fromkeys(asked.file_ids):
        digest = named.get(file_id)
        if digest is not None and digest in held:
            blobs.append(_resolved(held[digest], file_id))
        else:
            missing.append(MissingName(file_id=file_id))
    return ResolveAnswer(blobs=tuple(blobs), missing=tuple(missing))


def _resolved(grant: Grant, file_id: str | None = None) -> ResolvedBlob:
    return ResolvedBlob(**dict(grant.descriptor), sniffed_type=grant.sniffed_type, file_id=file_id)
