"""Where an SDK's requests go."""

import httpx2
import pytest

from coatcheck.client.sdk.address import as_written, below, everything

OURS = httpx2.URL("https://coat.example:8443")


@pytest.mark.parametrize(
    ("base", "base_path", "asked", "expected"),
    [
        (
            "https://api.openai.com/v1/",
            "/v1",
            "https://api.openai.com/v1/chat/completions?a=%2F",
            "https://coat.example:8443/v1/chat/completions?a=%2F",
        ),
        (
            "https://vendor.example/api/v9",
            "/v1",
            "https://vendor.example/api/v9/responses",
            "https://coat.example:8443/v1/responses",
        ),
        (
            "https://api.anthropic.com",
            "",
            "https://api.anthropic.com/v1/messages?beta=true",
            "https://coat.example:8443/v1/messages?beta=true",
        ),
        (
            "https://vendor.example",
            "/v1",
            "https://vendor.example/chat/completions",
            "https://coat.example:8443/v1/chat/completions",
        ),
        ("https://api.openai.com/v1", "/v1", "https://cdn.example/v1/file", None),
        ("https://api.openai.com/v1", "/v1", "http://api.openai.com/v1/file", None),
        ("https://api.openai.com/v1", "/v1", "https://api.openai.com/v10/file", None),
    ],
)
def test_below_a_providers_base(
    base: str, base_path: str, asked: str, expected: str | None
) -> None:
    found = below(httpx2.URL(base), OURS, base_path)(httpx2.URL(asked))
    assert (None if found is None else str(found)) == expected


def test_as_written_takes_one_host() -> None:
    address = as_written(httpx2.URL("http://127.0.0.1:8420/v1"))
    url = httpx2.URL("http://127.0.0.1:8420/v1/files?limit=2")
    assert address(url) == url
    assert address(httpx2.URL("http://127.0.0.1:8421/v1/files")) is None


def test_everything_goes_to_one_origin() -> None:
    found = everything(OURS)(httpx2.URL("https://api.openai.com/v1/models/a%2Fb?x=1"))
    assert str(found) == "https://coat.example:8443/v1/models/a%2Fb?x=1"
