"""File descriptors: as many as the connections need, or as many connections as there are.

Out of descriptors a server can accept nobody, not even to say no, and asyncio logs a traceback for
each try. So the process raises its own limit, and holds its connections to what it got.
"""

import resource
from typing import Final

PER_CONNECTION: Final = 5
"""The client's socket, the upstream's, the blob that is on its way between them, and room for those
that a server accepts only to refuse them."""

RESERVED: Final = 64
"""Databases, threads, the listener, uploads' files."""


def fit_connections(wanted: int) -> int:
    """Raise this process's soft limit for `wanted` connections; return how many it now carries.

    The limit is never lowered. At least one connection is carried.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = RESERVED + PER_CONNECTION * wanted
    if soft != resource.RLIM_INFINITY and soft < need:
        soft = need if hard == resource.RLIM_INFINITY else min(need, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections_within(soft, wanted)


def connections_within(descriptors: int, wanted: int) -> int:
    """Return how many of `wanted` connections a limit of descriptors carries."""
    if descriptors == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, (descriptors - RESERVED) // PER_CONNECTION))
