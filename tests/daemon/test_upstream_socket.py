"""Sockets to upstreams: only what stays on this host is sent without pacing."""

import socket

import pytest

from coatcheck.daemon import upstream_socket
from coatcheck.daemon.upstream_socket import open_socket


def opened(host: str) -> socket.socket:
    ((family, kind, protocol, name, address),) = socket.getaddrinfo(
        host, 80, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_NUMERICHOST
    )
    return open_socket((family, kind, protocol, name, address))


def congestion_control(of: socket.socket) -> bytes:
    return of.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1"])
def test_what_stays_on_this_host_is_not_paced(host: str) -> None:
    with opened(host) as found:
        assert congestion_control(found) == b"reno"


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "fe80::1%1"])
def test_what_leaves_it_is_as_the_host_has_it(host: str) -> None:
    with opened(host) as found, socket.socket(found.family) as usual:
        assert congestion_control(found) == congestion_control(usual)


@pytest.mark.parametrize("option", [None, 9999])
def test_where_it_cannot_be_chosen_the_socket_is_good_all_the_same(
    monkeypatch: pytest.MonkeyPatch, option: int | None
) -> None:
    monkeypatch.setattr(upstream_socket, "_CONGESTION", option)
    with opened("127.0.0.1") as found:
        assert (found.type, found.family) == (socket.SOCK_STREAM, socket.AF_INET)
