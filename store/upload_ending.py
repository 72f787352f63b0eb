"""The end of an upload in parts: seen in full, compared, and committed as any other blob is."""

from collections.abc import Callable
from functools import partial

from .commit import Committer
from .counts import StoreCounts
from .errors import DigestMismatchError, UploadNotFoundError
from .grant import Receipt
from .parts import Part
from .piece_buffers import PieceBuffers
from .probe import Probe, Probes
from .seed import Seeds
from .upload import Upload
from .upload_table import FinishedUpload


class UploadEnding:
    """Makes blobs of whole uploads, for one store."""

    def __init__(
        self,
        *,
        committer: Committer,
        seeds: Seeds,
        probes: Probes,
        slabs: PieceBuffers,
        counts: StoreCounts,
        expiry: Callable[[], float],
    ) -> None:
        """`expiry` says until when an upload that is finished now says so."""
        self._committer = committer
        self._seeds = seeds
        self._probes = probes
        self._slabs = slabs
        self._counts = counts
        self._expiry = expiry

    async def become_blob(self, part: Part, upload: Upload) -> Receipt:
        """Make a blob of a locked, whole upload, and remove its part. Not to be cancelled.

        Raises:
            EmptyBlobError: it has no byte.
            DigestMismatchError: it is not what was promised.
            UploadLostError: the disk may have lost bytes of it.
            QuotaExceededError, StoreFullError, StoreUnavailableError: it stays, and may be tried again.
        """
        probe = await self._seen(part, upload)
        blob = probe.blob()
        try:
            upload.promise.check(blob)
        except DigestMismatchError:
            self._counts.mismatched_uploads += 1
            raise
        await part.sync()  # its length too, should more have lain there
        self._probes.keep(upload.id, probe)  # should this fail, it need not be read again
        receipt = await self._committer.commit(
            upload.grant, part, blob, finished=FinishedUpload(upload.id, self._expiry())
        )
        self._probes.take(upload.id, upload.offset)
        await part.remove()
        self._counts.received_blobs += 1
        self._counts.received_bytes += blob.size
        return receipt

    async def _seen(self, part: Part, upload: Upload) -> Probe:
        """Return a probe that has seen all of the upload, read from the disk where it has to be."""
        probe = self._probes.take(upload.id, upload.offset)
        if probe is not None:
            return probe
        probe = Probe(self._seeds)
        slab = self._slabs.take()
        view = memoryview(slab)
        try:
            while probe.size < upload.offset:
                before = probe.size
                await part.read(before, view, partial(_look, probe, view, upload.offset))
                if probe.size == before:  # it was cut since it was resumed
                    raise UploadNotFoundError
        finally:
            view.release()
            self._slabs.give_back(slab)
        return probe


def _look(probe: Probe, view: memoryview, size: int, count: int) -> None:
    """Let a probe see what was read, and nothing behind `size`."""
    probe.update(view[: min(count, size - probe.size)])
