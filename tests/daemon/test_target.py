"""A target goes on as it was written, but for keys."""

import pytest

from coatcheck.daemon.errors import RequestRefusedError
from coatcheck.daemon.target import store_target, upstream_target
from coatcheck.protocol import DIALECTS

OPENAI, ANTHROPIC, GEMINI = (
    DIALECTS[name].provider for name in ("openai.chat", "anthropic.messages", "gemini.generate")
)


KEY = f"cck_{'a' * 8}_{'k' * 40}"


@pytest.mark.parametrize(
    "target",
    [
        "/v1/models",
        "/v1/models?",
        "/v1/a%2Fb/%7Euser/%zz/é?x=%41&x=&&y=a+b&=&z",
        "/v1//double//",
        "/v1/a;b=c,d?e=f?g#h",
        "/v1/a..b/...;x/..y%2F.z/;/%253B?a=../..;/",
    ],
)
def test_targets_go_on_as_written(target: str) -> None:
    assert upstream_target(target, ANTHROPIC, drops_key=False) == target
    assert upstream_target(target, OPENAI, drops_key=False) == target.removeprefix("/v1")


def test_the_base_path_is_one_segment_however_it_is_spelled() -> None:
    assert upstream_target("/%76%31/models", OPENAI, drops_key=False) == "/models"


@pytest.mark.parametrize(
    ("target", "goes"),
    [
        ("/v1beta/models?key=cck_a&pageSize=3", "/v1beta/models?pageSize=3"),
        ("/v1beta/models?pageSize=3&k%65y=%63ck_a", "/v1beta/models?pageSize=3"),
        ("/v1beta/models?key=cck_a", "/v1beta/models"),
        ("/v1beta/models?other=+cck_a&x", "/v1beta/models?x"),
        ("/v1beta/models?key=theirs", "/v1beta/models?key=theirs"),
        ("/v1beta/models?x&auth=Bearer%20cck_a", "/v1beta/models?x"),
        ("/v1beta/models?x&auth=Bearer+cck_a", "/v1beta/models?x"),
        ("/v1beta/models?next=%2Fy%3Fkey%3Dcck_a&x", "/v1beta/models?x"),
        ("/v1beta/models?next=%252Fy%253Fkey%253Dcck_a&x", "/v1beta/models?x"),
        ("/v1beta/models?cck_a&x", "/v1beta/models?x"),
        ("/v1beta/models?x;key=cck_a", "/v1beta/models"),
        ("/v1beta/models?token=Zcck_Q", "/v1beta/models?token=Zcck_Q"),
    ],
)
def test_our_keys_are_taken_out(target: str, goes: str) -> None:
    assert upstream_target(target, GEMINI, drops_key=False) == goes


def test_an_upstreams_own_key_replaces_the_querys() -> None:
    target = "/v1beta/models?key=theirs&keys=1"
    assert upstream_target(target, GEMINI, drops_key=True) == "/v1beta/models?keys=1"


@pytest.mark.parametrize("path", ["/v1/models/cck_a", "/v1/x=%63ck_a/y"])
def test_a_path_with_our_key_in_it_is_refused(path: str) -> None:
    with pytest.raises(RequestRefusedError, match=r"^the path has a key in it$"):
        upstream_target(path, OPENAI, drops_key=False)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../x",
        "/v1/%2e%2E/x",
        "/v1/./x",
        "/v1/x/..",
        "/v1/..%2f..%2Fadmin",
        "/v1/%2e%2e%2fadmin",
        "/v1/..%5c..%5Cadmin",
        "/v1/..\\admin",
        "/v1/..;/admin",
        "/v1/..;a=b/admin",
        "/v1/..%3b/admin",
        "/v1/%252e%252e/admin",
        "/v1/..%252fadmin",
        "/v1/%252e%252e%252fadmin",
        "/v1/x%2f%2e",
        "/v1/..#/admin",
        "/v1/..%3f/admin",
    ],
)
def test_dot_segments_are_refused(path: str) -> None:
    with pytest.raises(RequestRefusedError):
        upstream_target(path, OPENAI, drops_key=False)


@pytest.mark.parametrize(
    ("target", "goes"),
    [
        ("/v1/files?limit=1&", "/v1/files?limit=1&"),
        ("/v1/files?", "/v1/files?"),
        ("/v1/files?key=AIza&limit=1", "/v1/files?limit=1"),
        ("/v1/files?key=AIza", "/v1/files"),
        ("/v1/files?%6Bey=AIza&a=b", "/v1/files?a=b"),
        (f"/v1/files?key={KEY}", f"/v1/files?key={KEY}"),
    ],
)
def test_a_providers_key_goes_to_no_store(target: str, goes: str) -> None:
    assert store_target(target) == goes


def test_a_target_for_the_store_has_no_dot_segments() -> None:
    with pytest.raises(RequestRefusedError):
        store_target("/v1/files/../x")
