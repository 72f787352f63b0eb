"""URLs that open blobs for whoever fetches them, from the store that has the blobs.

They are the store's own to sign. Until the end of its window a blob's URL stays the same text, in every
process, so that a prompt that names it does; so no longer is one remembered.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from coatcheck.client import BlobNotFoundError, StoreLink
from coatcheck.protocol import Digest, SignedUrl, signed_url
from coatcheck.store import Store

from .availability import Availability
from .errors import DaemonError

_log = logging.getLogger(__name__)
_REMEMBERED = 10_000  # URLs, some 600 bytes each
_AT_ONCE = 8  # questions; a turn asks once in a window for each of its blobs


class BlobLinks(Protocol):
    """URLs by tenant and digest."""

    async def links(self, tenant: str, digests: Collection[Digest]) -> Mapping[Digest, str]:
        """Return the URLs of blobs that the tenant has just resolved; those that are to be had."""
        ...


class EmbeddedLinks:
    """`BlobLinks` of a store in this process."""

    def __init__(self, store: Store, origin: str) -> None:
        """`origin` is where those who fetch reach the store: `scheme://host[:port]`."""
        self._urls = store.signed_urls
        self._origin = origin

    async def links(self, tenant: str, digests: Collection[Digest]) -> Mapping[Digest, str]:
        """Sign a URL for each; see `BlobLinks.links`."""
        signed = ((digest, self._urls.sign(tenant, digest)) for digest in digests)
        return {
            digest: signed_url(self._origin, digest, each.expires_at, each.signature)
            for digest, each in signed
        }


class RemoteLinks:
    """`BlobLinks` of a store elsewhere, over a link that somebody else owns and closes."""

    def __init__(
        self, link: StoreLink, availability: Availability, clock: Callable[[], float]
    ) -> None:
        """`clock` gives Unix seconds."""
        self._link = link
        self._availability = availability
        self._clock = clock
        self._known: OrderedDict[tuple[str, Digest], SignedUrl] = OrderedDict()

    async def links(self, tenant: str, digests: Collection[Digest]) -> Mapping[Digest, str]:
        """Ask the store, once in a window for each; see `BlobLinks.links`.

        While the store is away there are none but those that are known.
        """
        now = self._clock()
        known = {digest: self._known.get((tenant, digest)) for digest in digests}
        found = {digest: url for digest, url in known.items() if url and now < url.same_until}
        unknown = [digest for digest in known if digest not in found]
        places = asyncio.Semaphore(_AT_ONCE)
        asking = (self._ask(tenant, digest, places) for digest in unknown)
        for digest, url in zip(unknown, await asyncio.gather(*asking), strict=True):
            if url is not None:
                found[digest] = url
        return {digest: url.url for digest, url in found.items()}

    async def _ask(
        self, tenant: str, digest: Digest, places: asyncio.Semaphore
    ) -> SignedUrl | None:
        try:
            async with places, self._availability.asking():
                try:
                    url = await self._link.signed_url(tenant, digest)
                except BlobNotFoundError:
                    return None
        except DaemonError as error:
            _log.warning("no URL for a blob: %s", error)
            return None
        self._known[tenant, digest] = url
        self._known.move_to_end((tenant, digest))
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return url
