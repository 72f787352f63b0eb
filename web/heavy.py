"""Work that may be too long for the event loop, by the size of what it works on."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")

# Reading or writing JSON takes about 1 ms a megabyte, and validating it as much; below this a thread
# costs more than it spares.
_THREAD_FROM_BYTES = 256 * 1024


async def in_thread_if(
    size: int, work: Callable[[], _T], *, from_bytes: int = _THREAD_FROM_BYTES
) -> _T:
    """Do the work, in a thread where `size` is at least `from_bytes`.

    The default is for work that costs as much as reading JSON does; what costs more says from where.
    """
    return await asyncio.to_thread(work) if size >= from_bytes else work()
