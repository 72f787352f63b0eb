"""What crosses the gateway, and what stays."""

from base64 import b64encode, urlsafe_b64encode

import pytest

from coatcheck.daemon.headers import (
    answer_headers,
    check_extra_headers,
    own_authorities,
    request_headers,
)


@pytest.mark.parametrize(
    "host", ["localhost:8420", "127.0.0.1:8420", "[::1]:8420", "LOCALHOST:8420"]
)
def test_loopback_is_known_by_all_its_names(host: str) -> None:
    assert own_authorities(host) >= {"localhost:8420", "127.0.0.1:8420", "[::1]:8420"}


def test_other_hosts_have_one_name() -> None:
    assert own_authorities("Store.example") == {"store.example"}
    assert own_authorities("localhost") == {"localhost", "127.0.0.1", "[::1]"}


def test_what_goes_upstream() -> None:
    received = [
        ("Host", "us"),
        ("Connection", "keep-alive, X-Hop"),
        ("X-Hop", "1"),
        ("Content-Length", "9"),
        ("Cookie", "a=b"),
        ("Coatcheck-Prompt", "keep"),
        ("coatcheck-key", "cck_x"),
        ("Transfer-Encoding", "chunked"),
        ("Authorization", "Bearer theirs"),
        ("X-Stainless-Lang", "python"),
        ("Accept", "a"),
        ("Accept", "b"),
    ]
    assert request_headers(received, None) == received[8:]
    credential = ("Authorization", "Bearer ours")
    assert request_headers(received, credential) == [*received[9:], credential]


def test_an_upstreams_own_key_replaces_whatever_key_the_client_sent() -> None:
    received = [
        ("authorization", "Bearer theirs"),
        ("X-Api-Key", "theirs"),
        ("x-goog-api-key", "theirs"),
        ("anthropic-version", "2023-06-01"),
    ]
    assert request_headers(received, ("x-api-key", "k")) == [received[3], ("x-api-key", "k")]


def test_the_coding_goes_with_the_body_it_describes() -> None:
    received = [("Content-Type", "application/json"), ("Content-Encoding", "zstd")]
    assert request_headers(received, None) == received
    assert request_headers(received, None, is_recoded=True) == received[:1]


def test_our_keys_never_go_upstream() -> None:
    received = [
        ("Authorization", "Bearer cck_secret"),
        ("x-api-key", "cck_secret"),
        ("X-Goog-Api-Key", "cck_secret"),
        ("Authorization", "Basic " + b64encode(b"me:cck_secret").decode()),
        ("Authorization", "Basic " + b64encode(b"me:theirs").decode()),
        ("Authorization", "Basic not base64"),
        ("X-Api-Key", "theirs"),
    ]
    assert request_headers(received, None) == received[4:]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Referer", "https://h/x?key=cck_secret"),
        ("Referer", "https://h/x?next=%2Fy%3Fkey%3Dcck_secret"),
        ("Referer", "https://h/x?next=%252Fy%253Fkey%253D%2563ck_secret"),
        ("X-Auth", "token=cck_secret"),
        ("X-Auth", '{"key":"cck_secret"}'),
        ("X-Auth", "xcck_abcdefgh_secret"),
        ("Authorization", "Basic " + b64encode(b"me:cck_secret").decode().rstrip("=")),
        ("X-Auth", "basic  " + b64encode(b"cck_secret:").decode()),
        ("Authorization", "Basic\t" + b64encode(b"me:cck_secret").decode()),
        ("Authorization", "Basic " + urlsafe_b64encode(b"?~?:cck_secret").decode()),
        ("cck_abcdefgh_secret", "1"),
    ],
)
def test_our_keys_never_go_upstream_inside_of_something(name: str, value: str) -> None:
    assert request_headers([(name, value)], None) == []


@pytest.mark.parametrize(
    "value",
    [
        "Bearer eyJhbGciOi.J9Zcck_Q2ZXJ5.x-cck_y",
        "https://h/100%?x=%zz",
        "cck",
        "Basic \u00e9",
        "",
        " ",
    ],
)
def test_what_only_looks_like_a_key_of_ours_goes_on(value: str) -> None:
    assert request_headers([("X", value)], None) == [("X", value)]


def test_what_comes_back() -> None:
    received = [
        ("Content-Type", "text/event-stream"),
        ("Set-Cookie", "a=b"),
        ("Connection", "close"),
        ("Transfer-Encoding", "chunked"),
        ("X-Request-Id", "1"),
        ("Content-Length", "3"),
        ("Coatcheck-Prompt", "sha256:of another server"),
    ]
    assert answer_headers(received) == [received[0], received[4], received[5]]


def test_an_upstreams_headers_take_the_place_of_the_clients() -> None:
    received = [("X-Title", "theirs"), ("x-title", "too"), ("Accept", "a")]
    extra = (("X-Title", "ours"), ("X-Org", "o"))
    assert request_headers(received, None, extra) == [("Accept", "a"), *extra]


@pytest.mark.parametrize("name", ["api-key", "Authorization", "x-api-key"])
def test_a_key_among_an_upstreams_headers_replaces_the_clients(name: str) -> None:
    received = [("authorization", "Bearer theirs"), ("X-Api-Key", "theirs"), ("Accept", "a")]
    assert request_headers(received, None, [(name, "k")]) == [("Accept", "a"), (name, "k")]


@pytest.mark.parametrize(
    "name",
    [
        *("Content-Length", "transfer-encoding", "Host", "Connection", "TE", "Trailer", "Upgrade"),
        *("Keep-Alive", "Proxy-Authorization", "Expect", "Content-Encoding", "Accept-Encoding"),
        *("Coatcheck-Key", "Cookie", "", "X Y", "X:", "X\r\nY", "Ä"),
    ],
)
def test_a_header_that_is_not_an_upstreams_to_set_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=r"is not an upstream's to set|is no name of a header"):
        check_extra_headers([(name, "secret-value")], None)


@pytest.mark.parametrize("value", ["", "a\r\nX: y", "a\nb", "a\0", "\x7f", " a", "a ", "ä"])
def test_a_value_that_no_header_may_have_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(ValueError, match=r"^X-Org has a value that no header may have$"):
        check_extra_headers([("X-Org", value)], None)


def test_a_header_is_set_once_and_never_to_a_key_of_ours() -> None:
    with pytest.raises(ValueError, match="x-org is set twice"):
        check_extra_headers([("X-Org", "a"), ("x-org", "b")], None)
    with pytest.raises(ValueError, match="Authorization is set twice"):
        check_extra_headers([("Authorization", "a")], ("authorization", "b"))
    with pytest.raises(ValueError, match="X-Org holds a key of ours"):
        check_extra_headers([("X-Org", "Bearer cck_secret")], None)
    check_extra_headers([("X-Org", "a b\tc"), ("api-key", "k")], ("Authorization", "b"))
