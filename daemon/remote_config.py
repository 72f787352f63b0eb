"""What a daemon is told of a store on another host."""

from dataclasses import dataclass, field

from coatcheck.client import StoreLink

from .cache import CacheConfig
from .upstream import Timeouts, UpstreamConfig


@dataclass(frozen=True, slots=True)
class RemoteConfig:
    """Where the store is, and where copies go."""

    store_url: str
    cache: CacheConfig
    key: str | None = field(default=None, repr=False)
    """A daemon's key; None for a store without keys, on this host."""

    connect_seconds: float = 5.0
    """For a connection: a host that is up answers in milliseconds, one far away in some hundred."""

    answer_seconds: float = 10.0
    """For an answer from the store's index: a turn waits for it, and a store that takes longer is
    away for the turn's purposes."""

    idle_seconds: float = 120.0
    """For each wait for bytes: an upload ends with a sync of the store's disk, a download begins
    with a read of it, and a disk under load takes its time for both."""

    total_seconds: float = 86_400.0
    """For a whole request that is passed through: as long as a client may upload one blob."""

    max_blob_bytes: int = 512 * 1024**2
    """The largest file of which the form is set aside in the cache's folder until it is known whose
    it is: what the store takes by default, and providers do."""

    @property
    def passing(self) -> UpstreamConfig:
        """Return the store as requests are passed on to it."""
        timeouts = Timeouts(
            connect_seconds=self.connect_seconds,
            first_byte_seconds=self.idle_seconds,
            idle_seconds=self.idle_seconds,
            total_seconds=self.total_seconds,
        )
        return UpstreamConfig("store", base_url=self.store_url, timeouts=timeouts)

    def link(self, name: str) -> StoreLink:
        """Make the link that questions go by; whoever asked for it closes it.

        `name` is what the daemon calls itself.

        Raises:
            InvalidArgumentError: the URL is no origin, or the key cannot be one.
        """
        return StoreLink(
            self.store_url,
            self.key,
            name=name,
            connect_seconds=self.connect_seconds,
            idle_seconds=self.idle_seconds,
            answer_seconds=self.answer_seconds,
        )
