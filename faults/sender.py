"""Blobs handed in by parts: begun, appended to, finished, and gone on with where the store says.

An upload that the store says it has lost is begun anew, as a client would. One that is gone without a
word is a fault of ours.
"""

from dataclasses import dataclass

from coatcheck.store import NewUpload, Store, UploadLostError

from .ledger import Ledger, Line, Mark, content, digest_of
from .persist import body, persist


@dataclass(slots=True)
class Parcel:
    """A blob on its way in."""

    tenant: str
    name: str
    size: int
    end_user: str = ""
    says_length: bool = True
    """Whether its length is said at the beginning; else it is said at the end."""
    id: str = ""
    """Its upload's; empty before it is begun, and after it was lost."""
    offset: int = 0
    """How much of it was acknowledged."""

    @property
    def digest(self) -> str:
        """The digest that it will have."""
        return digest_of(self.name, self.size)


class Sender:
    """Hands parcels in, one step after another."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._uploads = store.uploads
        self._ledger = ledger

    async def append(self, parcel: Parcel, end: int) -> None:
        """Send what a parcel has up to `end`."""

        async def work() -> None:
            await self._bring(parcel, end)

        await persist(self._ledger, "append", work, parcel.tenant, parcel.digest)

    async def finish(self, parcel: Parcel) -> None:
        """Send what is still to be sent, and make a blob of it."""

        async def work() -> float:
            await self._bring(parcel, parcel.size)
            try:
                await self._uploads.declare_length(parcel.tenant, parcel.id, parcel.size)
                self._note("declare", parcel)
                receipt = await self._uploads.finish(parcel.tenant, parcel.id)
            except UploadLostError:
                self._lose(parcel)
                raise
            assert receipt.grant.digest == parcel.digest, f"{parcel.name} became another blob"
            return receipt.grant.lease_expires_at or 0.0

        until = await persist(self._ledger, "finish", work, parcel.tenant, parcel.digest)
        self._note("finish", parcel, until)

    async def _bring(self, parcel: Parcel, end: int) -> None:
        if not parcel.id:
            await self._begin(parcel)
        found = await self._uploads.stat(parcel.tenant, parcel.id)
        assert found is not None, f"the upload of {parcel.name} is gone"
        assert found.offset >= parcel.offset, f"{parcel.name} goes back to {found.offset}"
        if found.offset < end:
            data = content(parcel.name, parcel.size)[found.offset : end]
            try:
                found = await self._uploads.append(
                    parcel.tenant, parcel.id, found.offset, body(data)
                )
            except UploadLostError:
                self._lose(parcel)
                raise
        assert found.offset == max(end, parcel.offset), f"{parcel.name} ends at {found.offset}"
        parcel.offset = found.offset
        self._note("append", parcel)

    async def _begin(self, parcel: Parcel) -> None:
        new = NewUpload(
            parcel.tenant,
            length=parcel.size if parcel.says_length else None,
            media_type="image/png",
            end_user=parcel.end_user or None,
        )
        parcel.id = (await self._uploads.create(new)).id
        self._note("begin", parcel)

    def _lose(self, parcel: Parcel) -> None:
        self._note("lost", parcel)
        parcel.id, parcel.offset = "", 0

    def _note(self, step: str, parcel: Parcel, until: float = 0.0) -> None:
        self._ledger.write(
            Line(
                Mark.DONE,
                step,
                parcel.tenant,
                parcel.digest,
                parcel.name,
                until,
                id=parcel.id,
                size=parcel.size,
                offset=parcel.offset,
                end_user=parcel.end_user,
            )
        )
