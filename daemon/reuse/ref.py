"""The mode `ref`: an upstream that resolves refs itself, as a plugin of Dify's does with our hook in it.

It is named only what was resolved for the turn's tenant a moment before. What came inline is handed to the
store first, and a variant goes as bytes: the store knows nothing of it.
"""

from collections.abc import Callable

from coatcheck.protocol import Ref

from ..meters import Meters
from ..source import BlobSource
from .at_hand import at_hand
from .linked import Hold, Link, LinkedPlan, Linking, came_inline
from .mode import Hop, Plan


class Refs:
    """The mode `ref`."""

    def __init__(self, blobs: BlobSource, meters: Meters, clock: Callable[[], float]) -> None:
        """`clock` gives seconds."""
        self._blobs = blobs
        # No status says that a plugin did not get its bytes: only a stream does.
        self._linking = Linking("ref", meters, clock, watched=())

    async def plan(self, hop: Hop) -> Plan:
        """Name refs; see `Mode.plan`."""
        wanted = await at_hand(hop, self._blobs)
        links = {
            each.slot.path: Link(each.blob.digest, each.blob.size, str(Ref(each.blob.digest)))
            for each in wanted
        }
        inline = [filling for filling in wanted if came_inline(filling)]
        return LinkedPlan(self._linking, hop, links, inline, Hold())

    async def close(self) -> None:
        """Nothing is held."""
