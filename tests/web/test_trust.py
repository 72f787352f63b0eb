"""Which Host and Origin a server without keys lets in."""

import pytest

from coatcheck.web import LoopbackGuard, is_loopback_authority, is_loopback_host


@pytest.mark.parametrize(
    "authority",
    [
        "localhost",
        "LOCALHOST:1",
        "localhost.",
        "app.localhost:8420",
        "127.0.0.1",
        "127.0.0.1:8420",
        "127.1.2.3:65535",
        "[::1]",
        "[::1]:8420",
    ],
)
def test_loopback_names_are_known(authority: str) -> None:
    assert is_loopback_authority(authority)


@pytest.mark.parametrize(
    "authority",
    [
        "",
        "evil.example",
        "localhost.evil.example",
        "evillocalhost",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "127.1",
        "0.0.0.0",
        "10.0.0.1:8420",
        "[::]",
        "[::1",
        "::1:8420",
        "localhost:port",
        "localhost:80:80",
        "localhost/x",
        "１２７.0.0.1",
    ],
)
def test_other_names_are_foreign(authority: str) -> None:
    assert not is_loopback_authority(authority)


def test_addresses_to_listen_on() -> None:
    assert is_loopback_host("::1")
    assert not is_loopback_host("0.0.0.0")


@pytest.mark.parametrize(
    ("host", "origin", "passes"),
    [
        ("localhost:8420", None, True),
        ("localhost:8420", "http://localhost:8420", True),
        ("LOCALHOST:8420", "http://localhost:8420", True),
        ("localhost", "https://localhost", True),
        ("localhost:8420", "http://localhost:3000", False),
        ("localhost:8420", "http://127.0.0.1:8420", False),
        ("localhost:8420", "file://localhost:8420", False),
        ("localhost:8420", "http://localhost:8420@evil.example", False),
        ("localhost:8420", "null", False),
        ("localhost:8420", "", False),
        ("evil.example", "http://evil.example", False),
    ],
)
def test_an_origin_is_ours_when_it_is_the_host(host: str, origin: str | None, passes: bool) -> None:
    headers = {"Host": host} if origin is None else {"Host": host, "Origin": origin}
    assert (LoopbackGuard().refusal(headers) is None) == passes
