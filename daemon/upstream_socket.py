"""The sockets that go to upstreams.

Between two processes of one host nothing is congested. Some congestion controls pace what is sent all
the same, with a timer for every few packets (BBR does, tcp(7) says which one a host has); Reno, which
every kernel has, never does.
"""

import contextlib
import ipaddress
import socket

_CONGESTION: int | None = getattr(socket, "TCP_CONGESTION", None)  # of Linux


def open_socket(address: tuple[int, int, int, str, tuple[object, ...]]) -> socket.socket:
    """Return a socket for an address as of `socket.getaddrinfo`, to be connected; for aiohttp.

    Raises:
        OSError: there is none to be had.
    """
    family, kind, protocol, _, peer = address
    opened = socket.socket(family, kind, protocol)
    if _CONGESTION is not None and ipaddress.ip_address(str(peer[0])).is_loopback:
        with contextlib.suppress(OSError):  # a system that does not let it be chosen
            opened.setsockopt(socket.IPPROTO_TCP, _CONGESTION, b"reno")
    return opened
