"""The store's part of the admin pages: numbers, and the blobs with their pictures."""

from dataclasses import asdict

from aiohttp import web
from markupsafe import Markup

from coatcheck.store import Store
from coatcheck.web import AdminSection, Templates, json_response

from .config import ApiConfig
from .download import send_blob
from .listing import page_response, read_page
from .models import StatsAnswer


class AdminHandlers:
    """What stands behind the pages: JSON and pictures."""

    def __init__(self, store: Store, config: ApiConfig) -> None:
        self._store = store
        self._config = config

    async def blobs(self, request: web.Request) -> web.StreamResponse:
        """Send one page of the tenant's blobs."""
        return page_response(await read_page(self._store, self._config, request))

    async def picture(self, request: web.Request) -> web.StreamResponse:
        """Send a blob for the page to show; looking at it is no use, so it keeps nothing alive."""
        return await send_blob(self._store, request, renew=False)

    async def stats(self, request: web.Request) -> web.StreamResponse:
        """Send the store's numbers."""
        return json_response(StatsAnswer(**asdict(await self._store.stats())))


def admin_sections(store: Store, config: ApiConfig) -> list[AdminSection]:
    """Return the numbers and the newest blobs."""
    templates = Templates("coatcheck.api")

    async def stats(tenant: str) -> Markup:
        return templates.render("stats.html", stats=await store.stats())

    async def blobs(tenant: str) -> Markup:
        page = await store.list_grants(tenant, after=None, limit=config.admin_blobs)
        return templates.render("blobs.html", blobs=page.items, has_more=page.next_cursor)

    return [AdminSection("store", "Store", stats), AdminSection("blobs", "Blobs", blobs)]
