"""A key is told to nobody: no upstream, no log, no answer."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import ClientSession, encode_basic_auth
from yarl import URL

from coatcheck.cli.assembly import assemble_serve
from coatcheck.protocol import ALL_SCOPES, Key

pytestmark = pytest.mark.system

CHAT: Any = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
PLACES: dict[str, Callable[[str], dict[str, str]]] = {
    "own": lambda key: {"Coatcheck-Key": key},
    "own beside theirs": lambda key: {"Coatcheck-Key": key, "Authorization": "Bearer sk-theirs"},
    "bearer": lambda key: {"Authorization": f"Bearer {key}"},
    "anthropic": lambda key: {"x-api-key": key, "anthropic-version": "2023-06-01"},
    "gemini": lambda key: {"x-goog-api-key": key},
    "azure": lambda key: {"api-key": key},
    "browser": lambda key: {"Authorization": encode_basic_auth("me", key)},
    "query": lambda key: {},
    "elsewhere too": lambda key: {
        "Coatcheck-Key": key,
        "Referer": f"https://h/x?key={key}",
        "X-Auth": f"token={key}",
    },
    "elsewhere, encoded": lambda key: {
        "Coatcheck-Key": key,
        "Referer": f"https://h/x?next=%2Fy%3Fkey%3D{key}",
        "X-Auth": encode_basic_auth("me", key).rstrip("="),
    },
    "tagged": lambda key: {
        "Coatcheck-Key": key,
        "Authorization": f"Token token={key}",
        "X-Api-Key": f'"{key}"',
        "X-Semicolon": f"a;{key}",
        "X-Original-URL": f"/v1/models?key={key}",
    },
    "nested": lambda key: {
        "Coatcheck-Key": key,
        "Authorization": f"Bearer:{key}",
        "X-Json": f'{{"key":"{key}"}}',
        "Sec-WebSocket-Protocol": f"realtime, openai-insecure-api-key.{key}",
        "Referer": "https://h/?next=" + quote(quote(f"https://h/?key={key}", safe=""), safe=""),
        key: "1",
    },
    "login with a tab": lambda key: {
        "Coatcheck-Key": key,
        "Authorization": encode_basic_auth("me", key).replace(" ", "\t"),
    },
    "login without padding": lambda key: {
        "Coatcheck-Key": key,
        "Authorization": encode_basic_auth("you", key).rstrip("="),
        "X-Auth": encode_basic_auth("?~?", key).replace("/", "_").replace("+", "-"),
    },
}
QUERIES: dict[str, Callable[[str], str]] = {
    "query": lambda key: f"?alt=sse&key={key}",
    "elsewhere too": lambda key: f"?auth=Bearer%20{key}&{key}=1",
    "elsewhere, encoded": lambda key: f"?next=%2Fy%3Fkey%3D{key}",
    "tagged": lambda key: f"?{key}&a=1;key={key}&key=={key}&b=%00{key}",
    "nested": lambda key: f"?a=https://h/?key={key}&b=" + quote(quote(f"/?k={key}", safe="")),
}
PATHS: dict[str, Callable[[str], str]] = {
    "plain": lambda key: key,
    "encoded": lambda key: f"%63ck%5F{key[4:]}",
    "encoded twice": lambda key: f"x%252F{key}",
    "below": lambda key: f"a/{key};b/c",
}
# Native routes, turns, and paths that pass through; and those that are refused.
TARGETS: list[tuple[str, str, Any]] = [
    ("GET", "/v1/blobs", None),
    ("GET", "/v1/blobs/nonsense", None),
    ("GET", "/admin", None),
    ("GET", "/nothing", None),
    ("POST", "/v1/keys/verify", {"key": 1}),
    ("POST", "/v1/chat/completions", CHAT),
    ("POST", "/v1/chat/completions", {"model": "m", "messages": 1}),
    ("POST", "/v1/embeddings", {"model": "m", "input": "hello"}),
    ("GET", "/v1/models", None),
    ("POST", "/v1/messages", CHAT),
    ("POST", "/v1beta/models/m:generateContent", {"contents": []}),
]


@dataclass(frozen=True)
class Served:
    """A server with keys; its upstreams, and one key."""

    url: str
    upstream: Any
    key: Key


@pytest.fixture
async def served(serve_here: Any, run_recorder: Any) -> Served:
    upstream = run_recorder()
    dialects = {"openai.chat": "/v1", "anthropic.messages": "", "gemini.generate": ""}
    upstreams = [
        {"name": dialect, "dialect": dialect, "base_url": upstream.url + base}
        for dialect, base in dialects.items()
    ]
    here = await serve_here(assemble_serve, upstream=upstreams)
    made = await here.keys.create(tenant="acme", scopes=ALL_SCOPES)
    return Served(here.url, upstream, made.key)


async def test_a_key_reaches_no_upstream_no_log_and_no_answer(
    served: Served, http: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = Key(served.key.id, "a" * 40)
    answers: list[str] = []
    for key in (served.key, wrong):
        for place, headers in PLACES.items():
            for method, path, body in TARGETS:
                url = served.url + path + QUERIES.get(place, _no_query)(key.text)
                async with http.request(
                    method, URL(url, encoded=True), json=body, headers=headers(key.text)
                ) as answer:
                    answers.append(f"{answer.headers} {await answer.text()}")
                    assert (answer.status == 401) == (key is wrong and path != "/nothing")
    assert len(served.upstream.seen) >= len(PLACES) * 5
    sent = "".join(f"{seen.target} {seen.headers} {seen.body!r}" for seen in served.upstream.seen)
    assert "sk-theirs" in sent
    assert "alt=sse" in sent
    logged = caplog.text + "".join(str(record.args) for record in caplog.records)
    assert "path=/v1/embeddings" in logged
    assert_untold(served.key, wrong, sent, logged, *answers)


@pytest.mark.parametrize("write", PATHS.values(), ids=PATHS)
async def test_a_key_in_a_path_is_told_to_nobody(
    served: Served,
    http: ClientSession,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    write: Callable[[str], str],
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = Key(served.key.id, "a" * 40)
    answers: list[str] = []
    for key in (served.key, wrong):
        for base in ("/v1/embeddings", "/v1/blobs", "/v1/prompts", "/admin", "/nothing"):
            url = URL(f"{served.url}{base}/{write(key.text)}", encoded=True)
            async with http.get(url, headers={"x-api-key": key.text}) as answer:
                answers.append(f"{answer.headers} {await answer.text()}")
                if base == "/v1/embeddings":
                    assert answer.status == (401 if key is wrong else 400)
                    assert ("path_invalid" in answers[-1]) == (key is served.key)
    assert not served.upstream.seen
    logged = caplog.text + "".join(str(record.args) for record in caplog.records)
    assert "path=/v1/embeddings/" in logged
    assert "cck_***" in logged
    kept = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert_untold(served.key, wrong, logged, *answers)
    assert not [path for path in kept if served.key.secret.encode() in path.read_bytes()]


def assert_untold(key: Key, wrong: Key, *texts: str) -> None:
    for text in texts:
        for secret in (key.secret, wrong.secret, "cck_a", key.id):
            assert secret not in text
        for encoded in ("Y2NrX", "jY2tf", "NjY2tf"):  # `cck_` in base64, wherever it begins
            assert encoded not in text


def _no_query(key: str) -> str:
    return ""


async def test_what_is_observed_of_turns_holds_no_key(
    served: Served, http: ClientSession, tmp_path: Path
) -> None:
    headers = {"Authorization": f"Bearer {served.key.text}"}
    url = f"{served.url}/v1/chat/completions?key={served.key.text}"
    async with http.post(url, json=CHAT, headers=headers) as answer:
        assert answer.status == 200
    kept = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if served.key.secret.encode() in path.read_bytes()]
