"""The mode `url`: providers that fetch get a signed URL of the store's, in place of a blob's bytes.

A blob goes by it where the provider is told the same type by both: the store serves what content shows,
so one that is presented as something else, or that shows nothing, goes as bytes. So does a variant, of
which the store knows nothing.
"""

from collections.abc import Callable

from coatcheck.web import name_suffix

from ..links import BlobLinks
from ..splice import Filling
from .linked import Hold, Link, LinkedPlan, Reaches, is_linkable
from .mode import Hop, Plan


class Urls:
    """The mode `url`. What upstreams could not fetch is remembered in this process alone."""

    def __init__(self, links: BlobLinks, clock: Callable[[], float]) -> None:
        """`clock` gives seconds."""
        self._links = links
        self._reaches = Reaches(clock)

    async def plan(self, hop: Hop) -> Plan:
        """Name URLs; see `Mode.plan`."""
        reach = self._reaches.of(hop)
        wanted = {
            filling.slot.path: filling.blob.digest
            for filling in hop.fillings
            if _is_shown_alike(filling) and reach.takes(filling.blob.digest)
        }
        urls = await self._links.links(hop.tenant, set(wanted.values())) if wanted else {}
        links = {
            path: Link(digest, url)
            for path, digest in wanted.items()
            if (url := urls.get(digest)) is not None
        }
        return LinkedPlan(hop, reach, links, Hold(_nothing))

    async def close(self) -> None:
        """Nothing is held."""


def _is_shown_alike(filling: Filling) -> bool:
    """Say whether who fetches a blob is told the type as which the message presents it."""
    is_served = filling.media_type == filling.blob.media_type and name_suffix(filling.media_type)
    return is_linkable(filling) and bool(is_served)


def _nothing() -> None:
    """Nothing is held while a provider fetches."""
