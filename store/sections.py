"""Uploads that come in sections: at once, in any order, put in order when the last one has come.

1. A section is an upload of its own under an id that begins with its whole's: what holds for uploads
   holds for it, in all processes and after a crash. It becomes no blob.
2. The whole declares its length when it begins, and claims that for its sections: they count neither
   against the quota nor as uploads. They are bounded in number, and to twice the whole's bytes, so that
   what broke off can be sent again.
3. A section counts when all of it is on the disk and its sender is about to be told. What else there is
   of one expires.
4. Joining streams them in the order that is given into the whole, which becomes a blob as every
   upload does. Meanwhile the bytes are on the disk twice. It may be done again, in another order, until
   the whole is finished.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from coatcheck.protocol import Buffer

from .database import Database
from .errors import (
    SectionNotFoundError,
    SizeMismatchError,
    StoreError,
    TooManySectionsError,
    UploadFinishedError,
    UploadLockedError,
    UploadLostError,
    UploadNotFoundError,
    UploadTooLongError,
)
from .finisher import Finisher
from .parts import Part, Parts
from .upload import SECTION_MARK, NewUpload, Upload
from .upload_table import find_sections, insert_upload, move_offset, note_metadata
from .uploads import Uploads

MAX_SECTIONS: Final = 1000
"""Sections of one upload, those that nobody wants any more included: each is a row and a file."""
_MOST_TIMES = 2  # as many bytes as the whole has may lie in its sections
_ID_BYTES = 16
_READ_BYTES = 1024 * 1024


class Sections:
    """The sections of one store's uploads. Every method takes the tenant and the whole's id."""

    def __init__(
        self,
        *,
        uploads: Uploads,
        database: Database,
        parts: Parts,
        finisher: Finisher,
        upload_seconds: float,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self._uploads = uploads
        self._database = database
        self._parts = parts
        self._finisher = finisher
        self._upload_seconds = upload_seconds
        self._clock = clock
        self._random = random

    async def add(
        self, tenant: str, upload_id: str, body: AsyncIterable[bytes], *, size: int | None = None
    ) -> Upload:
        """Receive a section; return it. Of one that breaks off nothing is kept.

        `size` is what the body is said to have.

        Raises:
            UploadNotFoundError: the tenant has no such upload, or it declares no length.
            UploadFinishedError: it has become a blob.
            UploadTooLongError: the section is longer than the whole.
            TooManySectionsError: there are as many, or as many bytes, as there may be.
            EmptyBlobError, StoreFullError, UploadLostError, StoreUnavailableError: as for any upload.
        """
        whole = await self._open(tenant, upload_id)
        assert whole.length is not None, "looked for by `_open`"
        if size is not None and size > whole.length:
            raise UploadTooLongError(whole.length)
        section = await self._insert(whole)
        try:
            bounded = _bounded(body, whole.length)
            async with aclosing(bounded):
                section = await self._uploads.append(tenant, section.id, 0, bounded, size=size)
            section = await self._uploads.declare_length(tenant, section.id, section.offset)
            await self._open(tenant, upload_id)  # whoever ended it meanwhile could not end this
            self._check_room(whole, await self._of(whole), 0)
        except BaseException:
            await self._finisher.run(self._drop(section))
            raise
        return replace(section, length=section.offset)

    async def join(
        self,
        tenant: str,
        upload_id: str,
        names: Sequence[str],
        look: Callable[[Buffer], object] | None = None,
    ) -> None:
        """Bring the sections of these names into the whole in this order; then it can be finished.

        `look` is shown all bytes in order, in threads. May be called again until it is finished.

        Raises:
            UploadNotFoundError, UploadFinishedError: as for `add`.
            SectionNotFoundError: it has no such section.
            SizeMismatchError: together they are not as long as the whole.
            UploadLockedError: another request joins it, or adds to one of these.
            StoreFullError, UploadLostError, StoreUnavailableError: the disk or the index failed.
        """
        whole = await self._open(tenant, upload_id)
        sections = await self._of(whole)
        found = {section.section_name: section for section in sections if section.is_whole}
        for name in names:
            if name not in found:
                raise SectionNotFoundError(name)
        chosen = [found[name] for name in names]
        total = sum(section.offset for section in chosen)
        if total != whole.length:
            raise SizeMismatchError(whole.length or 0, total)
        await self._finisher.run(self._rewind(whole))
        async with aclosing(self._read_all(chosen, look)) as body:
            await self._uploads.append(tenant, upload_id, 0, body, size=total)

    async def remove(self, tenant: str, upload_id: str) -> None:
        """Remove the sections of an upload; the whole stays. May be called again.

        Raises:
            StoreUnavailableError, StoreFullError: the disk or the index failed.
        """
        now = self._clock()
        sections = await self._database.read(lambda c: find_sections(c, upload_id, tenant, now))
        for section in sections:
            await self._finisher.run(self._drop(section))

    async def note(self, upload: Upload, metadata: str) -> bool:
        """Put other metadata in place of an upload's; return False where it is not as it was given.

        So of several that note at once, in any processes, one does.

        Raises:
            StoreUnavailableError, StoreFullError: the index failed.
        """
        before = upload.metadata or ""
        return await self._finisher.run(
            self._database.run(lambda c: note_metadata(c, upload.id, before, metadata))
        )

    async def _open(self, tenant: str, upload_id: str) -> Upload:
        whole = await self._uploads.stat(tenant, upload_id)
        if whole is None or whole.is_section or whole.length is None:
            raise UploadNotFoundError
        if whole.is_finished:
            raise UploadFinishedError
        return whole

    async def _of(self, whole: Upload) -> list[Upload]:
        now = self._clock()
        return await self._database.read(lambda c: find_sections(c, whole.id, whole.tenant, now))

    async def _insert(self, whole: Upload) -> Upload:
        section_id = f"{whole.id}{SECTION_MARK}{self._random(_ID_BYTES).hex()}"
        new = NewUpload(whole.tenant, end_user=whole.end_user)
        now = self._clock()

        self._check_room(whole, await self._of(whole), 1)
        return await self._finisher.run(
            self._database.run(
                lambda c: insert_upload(
                    c, section_id, new, now=now, expires_at=now + self._upload_seconds
                )
            )
        )

    def _check_room(self, whole: Upload, sections: Sequence[Upload], more: int) -> None:
        if len(sections) + more > MAX_SECTIONS:
            raise TooManySectionsError(f"an upload has at most {MAX_SECTIONS} parts")
        most = _MOST_TIMES * (whole.length or 0)
        if sum(section.offset for section in sections) > most:
            raise TooManySectionsError(f"the parts of this upload have at most {most} bytes")

    async def _rewind(self, whole: Upload) -> None:
        """Forget what an earlier joining brought."""
        if whole.offset == 0:
            return
        part = self._parts.part(whole.id)
        try:
            await self._lock(part, whole)
            until = whole.expires_at
            await self._database.run(lambda c: move_offset(c, whole.id, 0, until))
            await part.resume(0)
        finally:
            await part.close()

    async def _lock(self, part: Part, upload: Upload) -> None:
        if not await part.lock():
            raise UploadLockedError
        again = await self._uploads.stat(upload.tenant, upload.id)
        if again is None or again.is_finished:
            await part.remove()  # what locking has made
            raise UploadNotFoundError

    async def _read_all(
        self, sections: Sequence[Upload], look: Callable[[Buffer], object] | None
    ) -> AsyncGenerator[bytes]:
        for section in sections:
            async with aclosing(self._read(section)) as chunks:
                async for chunk in chunks:
                    if look is not None:
                        await asyncio.to_thread(look, chunk)
                    yield chunk

    async def _read(self, section: Upload) -> AsyncGenerator[bytes]:
        """Yield a section's bytes; nobody removes it meanwhile."""
        part = self._parts.part(section.id)
        counts: list[int] = []
        try:
            await self._lock(part, section)
            if not await part.resume(section.offset):
                raise UploadLostError("the disk has lost bytes of a part of this upload")
            offset = 0
            while offset < section.offset:
                # No slab that others use: when this is cancelled, a thread may still fill it.
                data = bytearray(min(_READ_BYTES, section.offset - offset))
                await part.read(offset, memoryview(data), counts.append)
                count = counts.pop()
                if count == 0:
                    raise UploadLostError("the disk has lost bytes of a part of this upload")
                yield bytes(memoryview(data)[:count])
                offset += count
        finally:
            await self._finisher.run(part.close())

    async def _drop(self, section: Upload) -> None:
        """Remove a section; what the disk or another request keeps from it expires."""
        try:
            await self._uploads.terminate(section.tenant, section.id)
        except StoreError:
            return


async def _bounded(body: AsyncIterable[bytes], max_bytes: int) -> AsyncGenerator[bytes]:
    taken = 0
    async for chunk in body:
        taken += len(chunk)
        if taken > max_bytes:
            raise UploadTooLongError(max_bytes)
        yield chunk
