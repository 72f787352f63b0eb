"""Where a key is looked for, and which one decides."""

from base64 import b64encode

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from coatcheck.web import Credential, credential_of


def basic(text: str) -> str:
    return "Basic " + b64encode(text.encode()).decode()


def found(headers: list[tuple[str, str]], path: str = "/v1/blobs") -> Credential | None:
    return credential_of(make_mocked_request("GET", path, CIMultiDict(headers)))


@pytest.mark.parametrize(
    "headers",
    [
        [("Coatcheck-Key", "cck_a")],
        [("coatcheck-key", " cck_a ")],
        [("Authorization", "Bearer cck_a")],
        [("Authorization", "bearer   cck_a")],
        [("x-api-key", "cck_a")],
        [("X-Api-Key", "sk-theirs"), ("X-Api-Key", "cck_a")],
        [("x-goog-api-key", "cck_a")],
        [("api-key", "cck_a")],
        [("Authorization", "Bearer sk-theirs"), ("x-api-key", "cck_a")],
        [("Authorization", "Bearer cck_a"), ("x-api-key", "cck_b")],
        [("x-api-key", "cck_b"), ("Coatcheck-Key", "cck_a")],
    ],
)
def test_a_key_is_found_in_every_usual_place(headers: list[tuple[str, str]]) -> None:
    assert found(headers) == Credential("cck_a")


@pytest.mark.parametrize(
    ("path", "secret"),
    [
        ("/v1beta/models?key=cck_a", "cck_a"),
        ("/v1beta/models?alt=sse&key=cck%5Fa", "cck_a"),
        ("/v1beta/models?key=AIza", None),
        ("/v1beta/models?monkey=cck_a", None),
    ],
)
def test_a_query_carries_a_key_as_gemini_clients_do(path: str, secret: str | None) -> None:
    credential = found([], path)
    assert (credential and credential.secret) == secret


def test_a_browsers_login_is_ambient() -> None:
    login = ("Authorization", basic("anybody:cck_a"))
    assert found([login]) == Credential("cck_a", is_ambient=True)
    assert found([login, ("x-api-key", "cck_b")]) == Credential("cck_b")


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "Bearer sk-theirs")],
        [("Authorization", "Bearer")],
        [("Authorization", "cck_a")],
        [("Authorization", basic("cck_a:"))],
        [("Authorization", basic("someone:else"))],
        [("Authorization", "Basic %%%")],
        [("Authorization", "Basic \u00e9")],
        [("Authorization", "Basic " + b64encode(b"\xff:cck_a").decode())],
        [("x-api-key", "sk-theirs"), ("x-goog-api-key", "AIza")],
        [("Cookie", "key=cck_a")],
    ],
)
def test_what_is_not_ours_is_no_key(headers: list[tuple[str, str]]) -> None:
    assert found(headers) is None


def test_our_own_header_decides_even_when_it_holds_no_key() -> None:
    headers = [("Coatcheck-Key", "sk-theirs"), ("Authorization", "Bearer cck_a")]
    assert found(headers) == Credential("sk-theirs")


def test_the_text_of_a_key_is_not_shown() -> None:
    request = make_mocked_request("GET", "/", {"Coatcheck-Key": "cck_a"})
    assert credential_of(request) == Credential("cck_a")
    assert "cck_a" not in repr(credential_of(request))
