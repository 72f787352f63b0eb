"""Large texts in memory that is mapped for each alone, so that each grows where it lies.

From 128 KiB on glibc maps memory for one object, which then grows without a copy and is given back when
it goes. But each time such an object goes, glibc raises that size, to 32 MiB at most (mallopt(3),
M_MMAP_THRESHOLD); from then on texts that grow side by side move through the heap and leave holes in it: 1.7
times the images from a plugin's second request on, measured with 15 of 2.6 MB, and not 1.35.
"""

from __future__ import annotations

__all__ = ["keep_mapping"]

_M_MMAP_THRESHOLD = -3
_FIRST_BYTES = 128 * 1024


def keep_mapping() -> None:
    """Have glibc stay with the size it begins with, in this process. May be called again.

    Another libc, or a Python without ctypes, is left as it is.
    """
    try:
        import ctypes

        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _FIRST_BYTES)
    except (ImportError, AttributeError, OSError):
        return
