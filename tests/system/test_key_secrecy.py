"""A key is told to nobody: no upstream, no log, no answer."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, encode_basic_auth

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
}
QUERIES: dict[str, Callable[[str], str]] = {
    "query": lambda key: f"?alt=sse&key={key}",
    "elsewhere too": lambda key: f"?auth=Bearer%20{key}&{key}=1",
    "elsewhere, encoded": lambda key: f"?next=%2Fy%3Fkey%3D{key}",
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
                    method, url, json=body, headers=headers(key.text)
                ) as answer:
                    answers.append(f"{answer.headers} {await answer.text()}")
                    assert (answer.status == 401) == (key is wrong and path != "/nothing")
    assert len(served.upstream.seen) >= len(PLACES) * 5
    sent = "".join(f"{seen.target} {seen.headers} {seen.body!r}" for seen in served.upstream.seen)
    assert "sk-theirs" in sent
    assert "alt=sse" in sent
    logged = caplog.text + "".join(str(record.args) for record in caplog.records)
    assert "path=/v1/embeddings" in logged
    for text in (sent, logged, *answers):
        for secret in (served.key.secret, wrong.secret, "cck_a", served.key.id):
            assert secret not in text


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
