"""A request's whole body in memory, a long one in huge pages.

What `malloc` gives a body of some megabytes is new each time, and a page of it costs its first touch:
of a turn with 50 MB inline that was a quarter of the time. A mapping that asks for huge pages
(madvise(2), MADV_HUGEPAGE) has 512 times fewer of them, and goes back to the system with the body. Where
the kernel has none to give, it is ordinary memory.
"""

import contextlib
import mmap
from io import BytesIO

from aiohttp import web

from coatcheck.protocol import Whole

from .body import body_at_hand, body_chunks

# What has to come before room is made for all that was announced: an announcement costs nothing.
_MAPPED_FROM_BYTES = 4 * 1024 * 1024


async def read_whole(request: web.Request, max_bytes: int) -> Whole:
    """Return the whole body, at most `max_bytes`; see `body_chunks` for what it raises."""
    body = body_at_hand(request, max_bytes)
    return body if body is not None else await _gathered(request, max_bytes)


async def _gathered(request: web.Request, max_bytes: int) -> Whole:
    begun = BytesIO()  # it grows in place, and gives its bytes away uncopied
    mapping: mmap.mmap | None = None
    async for chunk in body_chunks(request, max_bytes):
        if mapping is not None:
            mapping.write(chunk)
            continue
        begun.write(chunk)
        length = request.content_length or 0
        if length > begun.tell() >= _MAPPED_FROM_BYTES:
            mapping = _mapping(length)
            mapping.write(begun.getbuffer())
            begun = BytesIO()
    return begun.getvalue() if mapping is None else mapping


def _mapping(size: int) -> mmap.mmap:
    mapping = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without huge pages
        mapping.madvise(mmap.MADV_HUGEPAGE)
    return mapping
