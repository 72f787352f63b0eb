"""Filling: what goes into the slots of a turn, of what its tenant holds."""

from functools import partial

from coatcheck.protocol import Digest
from coatcheck.web import in_thread_if

from .errors import BlobsNotFoundError, BlobUnreadableError
from .received import Received
from .resolver import Resolver
from .source import Resolved
from .turn import Turn, fill
from .upstream import Upstream
from .variants import Fitted, Fitter, Wanted


class Filler:
    """Decides what goes into slots. Owns nothing."""

    def __init__(self, resolver: Resolver, fitter: Fitter | None) -> None:
        """Without a `fitter` no upstream has an image policy."""
        self._resolver = resolver
        self._fitter = fitter

    async def fit(self, turn: Turn, received: Received, upstream: Upstream) -> Fitted:
        """Return what goes into the turn's slots, no larger than its upstream uses images.

        Raises:
            FieldsNotFoundError: fields are not kept; it lists them, and the blobs that are not held.
            BlobsNotFoundError: blobs are not held; it lists all of them.
        """
        tenant, config = received.tenant, upstream.config
        resolved, files = await self._resolve(turn, tenant)
        fillings = await in_thread_if(turn.size, partial(fill, turn, resolved, files))
        if config.images is None or self._fitter is None:
            return Fitted(fillings)
        wanted = Wanted(config.images, config.provider.name, received.parsed.model)
        return await self._fitter.fit(tenant, wanted, turn, fillings)

    async def places(
        self, turn: Turn, tenant: str, error: BlobUnreadableError
    ) -> BlobsNotFoundError | BlobUnreadableError:
        """Say of a blob that went bad on the way where it stands, and what else is missing now."""
        resolved, files = await self._resolve(turn, tenant)
        resolved.pop(error.digest, None)
        try:
            fill(turn, resolved, files)
        except BlobsNotFoundError as missing:
            return missing
        return error

    async def _resolve(
        self, turn: Turn, tenant: str
    ) -> tuple[dict[Digest, Resolved], dict[str, Digest]]:
        """Return the blobs that the turn names and the tenant holds, and what its files name."""
        files = await self._resolver.find_files(tenant, turn.file_ids)
        return await self._resolver.resolve(tenant, turn.digests | set(files.values())), files
