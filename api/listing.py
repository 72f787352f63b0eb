"""Lists of blobs, a page at a time."""

from aiohttp import web

from coatcheck.protocol import BlobPage
from coatcheck.store import Store
from coatcheck.web import json_response, read_limit, tenant_of

from .config import ApiConfig
from .models import blob_entry


async def read_page(store: Store, config: ApiConfig, request: web.Request) -> BlobPage:
    """Return the page that a request's `limit` and `cursor` ask for.

    Raises:
        ProblemError: 400 `limit_invalid`.
        InvalidCursorError: the cursor did not come with a page.
    """
    tenant = tenant_of(request)
    limit = read_limit(request, config.page_blobs, config.max_page_blobs)
    page = await store.list_grants(tenant, after=request.query.get("cursor"), limit=limit)
    return BlobPage(blobs=tuple(map(blob_entry, page.items)), next_cursor=page.next_cursor)


def page_response(page: BlobPage) -> web.StreamResponse:
    """Return a page as JSON, with `next_cursor` also when it is null."""
    body = page.model_dump(mode="json", exclude_none=True)
    return json_response({**body, "next_cursor": page.next_cursor})
