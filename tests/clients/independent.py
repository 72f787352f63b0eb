"""Upstreams that other people wrote, in processes of their own, and one `coatcheck serve` before them.

`fakellm` and `llmock` (PyPI) and `@copilotkit/aimock` (npm). A request goes to one of them directly, or
through us, who choose it by the name of the model.
"""

import json
import re
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession, ServerDisconnectedError

from coatcheck.protocol import JsonObject, encode_json

from .environments import NODE, NODE_MODULES, UPSTREAMS, require
from .processes import free_port, running, serving, surroundings

_PREFIXES: Mapping[str, Mapping[str, str]] = {
    "fakellm": {"openai.chat": "", "anthropic.messages": ""},
    "llmock": {
        "openai.chat": "",
        "openai.responses": "",
        "anthropic.messages": "/anthropic",
        "gemini.generate": "/gemini",
    },
    "aimock": {
        "openai.chat": "",
        "openai.responses": "",
        "anthropic.messages": "",
        "gemini.generate": "",
    },
}
DIALECTS_OF: Mapping[str, tuple[str, ...]] = {name: tuple(of) for name, of in _PREFIXES.items()}
NO_ANSWER = 0
"""In place of a status, where the connection ended before one came."""
LIMIT_PER_MINUTE = 3
"""Requests that llmock takes for one key; each of ours has another."""

SLOW = 0.15
"""Seconds that an upstream waits when it is told to be slow."""

_FIXTURES: JsonObject = {
    "fixtures": [
        {
            "match": {"userMessage": "cut"},
            "response": {"content": "An answer that is long enough to be cut somewhere."},
            "chunkSize": 10,
            "latency": 20,
            "truncateAfterChunks": 3,
        },
        {
            "match": {"userMessage": "slow"},
            "response": {"content": "An answer that is slow to begin."},
            "streamingProfile": {"ttft": SLOW * 1000},
        },
        {
            "match": {"userMessage": "busy"},
            "response": {
                "error": {"message": "Busy.", "type": "overloaded_error"},
                "status": 529,
                "retryAfter": 7,
            },
        },
        {"match": {"userMessage": "What"}, "response": {"content": "A picture, of some kind."}},
    ]
}
# What no two answers to one request share.
_VARYING = re.compile(
    rb'"(id|item_id|response_id|request_id|responseId|created|created_at|completed_at|system_fingerprint)"'
    rb':\s*("[^"]*"|[0-9.]+)'
)
_OF_ONE_CONNECTION = frozenset(
    {"connection", "content-length", "date", "keep-alive", "request-id", "transfer-encoding"}
    | {"server", "x-request-id", "x-fakellm-conversation-id", "anthropic-ratelimit-requests-reset"}
)


@dataclass(frozen=True)
class Answered:
    """What a client saw: the status, headers and body, whether it was cut, and when it began.

    `body` is without what varies from answer to answer. `begun_seconds` is the time to its first byte.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_cut: bool
    begun_seconds: float = field(compare=False)


@dataclass(frozen=True)
class Independent:
    """The upstreams' origins by name, ours, and a client."""

    origins: Mapping[str, str]
    gateway: str
    http: ClientSession

    def direct(self, name: str, dialect: str) -> str:
        """Return where a dialect's paths begin at an upstream."""
        return self.origins[name] + _PREFIXES[name][dialect]

    async def ask(self, url: str, body: Any, headers: Mapping[str, str] | None = None) -> Answered:
        """Send a request and read the answer as far as it comes."""
        read, started, begun, is_cut = bytearray(), time.monotonic(), 0.0, False
        sent = {"Content-Type": "application/json", **(headers or {})}
        try:
            answer = await self.http.post(url, data=encode_json(body), headers=sent)
        except ServerDisconnectedError:
            return Answered(NO_ANSWER, {}, b"", True, 0.0)
        async with answer:
            try:
                async for chunk in answer.content.iter_any():
                    begun = begun or time.monotonic() - started
                    read += chunk
            except ClientError:
                is_cut = True
            kept = {
                name.lower(): value
                for name, value in answer.headers.items()
                if name.lower() not in _OF_ONE_CONNECTION
            }
            return Answered(answer.status, kept, _VARYING.sub(rb'"\1":0', read), is_cut, begun)

    async def json(self, url: str, body: JsonObject | None = None) -> Any:
        """Ask an upstream about itself."""
        method = "GET" if body is None else "POST"
        async with self.http.request(method, url, json=body) as answer:
            assert answer.ok, await answer.text()
            return await answer.json()


@asynccontextmanager
async def independent(folder: Path) -> AsyncGenerator[Independent]:
    """Run them all."""
    python, node = require(UPSTREAMS).python, require(NODE_MODULES).folder
    fixtures = folder / "fixtures.json"
    fixtures.write_text(json.dumps(_FIXTURES), "utf-8")
    ports = {name: free_port() for name in _PREFIXES}
    uvicorn = (python, "-m", "uvicorn", "--log-level", "warning", "--port")
    aimock = (NODE, node / "node_modules/@copilotkit/aimock/dist/cli.js", "--log-level", "warn")
    commands: dict[str, Sequence[str | Path]] = {
        "fakellm": (*uvicorn, str(ports["fakellm"]), "fakellm.server:app"),
        "llmock": (*uvicorn, str(ports["llmock"]), "llmock.main:app"),
        "aimock": (*aimock, "--port", str(ports["aimock"]), "--fixtures", fixtures),
    }
    environment = surroundings(LLMOCK_RPM=str(LIMIT_PER_MINUTE), LLMOCK_TOOL_MODE="off")
    async with AsyncExitStack() as stack:
        origins = {
            name: await stack.enter_async_context(
                running(command, ports[name], folder, environment)
            )
            for name, command in commands.items()
        }
        gateway = await stack.enter_async_context(serving(folder / "serve", _settings(origins)))
        http = await stack.enter_async_context(ClientSession())
        yield Independent(origins, gateway, http)


def _settings(origins: Mapping[str, str]) -> str:
    return "\n".join(
        f'[[upstream]]\nname = "{name}-{dialect}"\ndialect = "{dialect}"\nmodels = ["{name}"]\n'
        f'base_url = "{origins[name]}{prefix}{"/v1" if dialect.startswith("openai") else ""}"\n'
        for name, prefixes in _PREFIXES.items()
        for dialect, prefix in prefixes.items()
    )
