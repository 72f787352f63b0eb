"""Where the client has its server."""

import pytest
from aiohttp.test_utils import make_mocked_request

from coatcheck.web import ProblemError, client_origin


@pytest.mark.parametrize(
    ("headers", "origin"),
    [
        ({"Host": "coat.example"}, "http://coat.example"),
        ({"Host": "127.0.0.1:8420"}, "http://127.0.0.1:8420"),
        ({"Host": "[::1]:8420"}, "http://[::1]:8420"),
        ({"Host": "a", "X-Forwarded-Host": "b:1"}, "http://b:1"),
        ({"Host": "a", "X-Forwarded-Proto": "https"}, "https://a"),
        ({"Host": "a", "X-Forwarded-Proto": "HTTPS"}, "https://a"),
        ({"Host": "a", "X-Forwarded-Proto": "javascript"}, "http://a"),
    ],
)
def test_it_is_the_host_that_the_client_named(headers: dict[str, str], origin: str) -> None:
    assert client_origin(make_mocked_request("GET", "/", headers)) == origin


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": ""},
        {"Host": "a b"},
        {"Host": "user@a"},
        {"Host": "a/b"},
        {"Host": "a:x"},
        {"Host": "a", "X-Forwarded-Host": "a, b"},
    ],
)
def test_what_names_no_host_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ProblemError) as caught:
        client_origin(make_mocked_request("GET", "/", headers))
    assert caught.value.problem.code == "host_invalid"
