"""The mode `url`: providers that fetch get a signed URL of the store's, in place of a blob's bytes.

A blob goes by it where the provider is told the same type by both: the store serves what content shows,
so one that is presented as something else, or that shows nothing, goes as bytes. So does a variant, of
which the store knows nothing.
"""

from collections.abc import Callable

from coatcheck.web import name_suffix

from ..links import BlobLinks
from ..meters import Meters
from ..source import BlobSource
from ..splice import Filling
from .at_hand import at_hand
from .linked import Hold, Link, LinkedPlan, Linking, came_inline
from .mode import Hop, Plan


class Urls:
    """The mode `url`. What upstreams could not fetch is remembered in this process alone."""

    def __init__(
        self, links: BlobLinks, blobs: BlobSource, meters: Meters, clock: Callable[[], float]
    ) -> None:
        """`clock` gives seconds."""
        self._links = links
        self._blobs = blobs
        self._linking = Linking("url", meters, clock)

    async def plan(self, hop: Hop) -> Plan:
        """Name URLs; see `Mode.plan`."""
        reach = self._linking.reach(hop)
        wanted = [
            filling
            for filling in await at_hand(hop, self._blobs)
            if _is_shown_alike(filling) and reach.takes(filling.blob.digest)
        ]
        digests = {filling.blob.digest for filling in wanted}
        urls = await self._links.links(hop.tenant, digests) if digests else {}
        links = {
            filling.slot.path: Link(filling.blob.digest, filling.blob.size, url)
            for filling in wanted
            if (url := urls.get(filling.blob.digest)) is not None
        }
        inline = [filling for filling in wanted if came_inline(filling)]
        return LinkedPlan(self._linking, hop, links, inline, Hold())

    async def close(self) -> None:
        """Nothing is held."""


def _is_shown_alike(filling: Filling) -> bool:
    """Say whether who fetches a blob is told the type as which the message presents it."""
    return filling.media_type == filling.blob.media_type and bool(name_suffix(filling.media_type))
