"""A body that is read twice: first to find out whose it is, then by whoever that is.

Some of it is held in memory, what is more lies on disk. What was not read the first time is held
nowhere.
"""

from collections.abc import AsyncGenerator

from aiohttp import web

from coatcheck.store import BodySpool, BodySpools

from .body import body_chunks
from .errors import refuse
from .form import OVERHEAD_BYTES, FormFile

_MEMORY_BYTES = 1024 * 1024  # forms with a picture behind which the purpose stands need no disk


class RewindableBody:
    """The body of one request. Iterate it as far as need be, then `rewound` once; close it."""

    def __init__(self, request: web.Request, spools: BodySpools, max_blob_bytes: int) -> None:
        """Set aside no more than a form with a file of so many bytes has."""
        self._chunks = body_chunks(request, max_bytes=None)
        self._spools = spools
        self._max_bytes = max_blob_bytes + OVERHEAD_BYTES
        self._kept_bytes = 0
        self._recent: list[bytes] = []
        self._recent_bytes = 0
        self._spool: BodySpool | None = None

    def __aiter__(self) -> "RewindableBody":
        """Return itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next chunk, which is set aside.

        Raises:
            ProblemError: 413 `body_too_large`, or see `body_chunks`.
            StoreFullError, StoreUnavailableError: the disk refused.
        """
        chunk = await anext(self._chunks)
        self._kept_bytes += len(chunk)
        if self._kept_bytes > self._max_bytes:
            raise refuse(
                413,
                "body_too_large",
                "Body too large",
                f"what the body is for does not stand in its first {self._max_bytes} bytes",
                max_bytes=self._max_bytes,
            )
        self._recent.append(chunk)
        self._recent_bytes += len(chunk)
        if self._recent_bytes >= _MEMORY_BYTES:
            await self._set_aside()
        return chunk

    async def rewound(self) -> AsyncGenerator[bytes]:
        """Yield the whole body, from its beginning on."""
        if self._spool is not None:
            async for chunk in self._spool.chunks():
                yield chunk
            await self._spool.close()
        recent, self._recent = self._recent, []
        for chunk in recent:
            yield chunk
        del recent
        async for chunk in self._chunks:
            yield chunk

    async def close(self) -> None:
        """Let go of all of it. May be called twice."""
        await self._chunks.aclose()
        if self._spool is not None:
            await self._spool.close()

    async def _set_aside(self) -> None:
        self._spool = self._spool or self._spools.spool()
        await self._spool.write(self._recent)
        self._recent = []
        self._recent_bytes = 0


async def read_purpose(body: RewindableBody, content_type: str) -> str | None:
    """Read a form with a file up to its field `purpose`, before or behind the file, and return that.

    None: the form has none.

    Raises:
        ProblemError: as `FormFile` and `RewindableBody`.
    """
    form = FormFile(body, content_type)
    await form.open()
    if (purpose := form.field("purpose")) is None:
        async for _ in form.content():
            pass
        purpose = form.field("purpose")
    return purpose
