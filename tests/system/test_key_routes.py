"""Every route of every command, and what a key must be for to use it.

The routes are those that a command serves; one that stands in no table here fails the test.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from aiohttp import ClientSession

from coatcheck.cli.services import SERVICES
from coatcheck.protocol import ALL_SCOPES, Key, Scope
from coatcheck.store import Keys
from coatcheck.web import Route

pytestmark = pytest.mark.system

Shape: TypeAlias = Callable[[int, Any], str]


def openai(status: int, body: Any) -> str:
    assert set(body) == {"error"}
    return str(body["error"]["code"])


def anthropic(status: int, body: Any) -> str:
    expected = "authentication_error" if status == 401 else "permission_error"
    assert (body["type"], body["error"]["type"]) == ("error", expected)
    return str(body["error"]["details"]["error_code"])


def gemini(status: int, body: Any) -> str:
    expected = "UNAUTHENTICATED" if status == 401 else "PERMISSION_DENIED"
    assert (body["error"]["code"], body["error"]["status"]) == (status, expected)
    return str(body["error"]["details"][0]["code"])


def dify(status: int, body: Any) -> str:
    """Return the code of an error; at paths that dispatch it is an event."""
    said = json.loads(json.loads(body["message"])["message"])
    assert (body["code"], said["error_type"]) == (-500, "InvokeAuthorizationError")
    return str(said["args"]["code"])


def native(status: int, body: Any) -> str:
    assert body["status"] == status
    return str(body["code"])


OPEN = {
    "GET /healthz",
    "GET /readyz",
    "GET /openapi.json",
    "GET /admin/icon.svg",
    "GET /admin/style-*.css",
}
PAGES: dict[str, Scope] = {"GET /admin": "admin", "GET /metrics": "admin"}
STORE: dict[str, Scope] = {
    "POST /v1/blobs": "write",
    "PUT /v1/blobs/{digest}": "write",
    "GET /v1/blobs/{digest}": "read",
    "HEAD /v1/blobs/{digest}": "read",
    "POST /v1/blobs/missing": "read",
    "GET /v1/blobs": "read",
    "DELETE /v1/blobs/{digest}": "write",
    "PUT /v1/blobs/{digest}/pin": "write",
    "DELETE /v1/blobs/{digest}/pin": "write",
    "POST /v1/blobs/{digest}/signed-url": "read",
    "OPTIONS /v1/tus": "write",
    "POST /v1/tus": "write",
    "OPTIONS /v1/tus/{upload}": "write",
    "HEAD /v1/tus/{upload}": "write",
    "PATCH /v1/tus/{upload}": "write",
    "DELETE /v1/tus/{upload}": "write",
    "POST /v1/tus/{upload}": "write",
    "GET /v1/tus/{upload}": "read",
    "POST /v1/files": "write",
    "GET /v1/files": "read",
    "GET /v1/files/{file}": "read",
    "GET /v1/files/{file}/content": "read",
    "DELETE /v1/files/{file}": "write",
    "POST /v1/uploads": "write",
    "POST /v1/uploads/{upload}/parts": "write",
    "POST /v1/uploads/{upload}/complete": "write",
    "POST /v1/uploads/{upload}/cancel": "write",
    **{f"POST /upload/{version}/files": "write" for version in ("v1", "v1beta", "v1alpha")},
    **{f"POST /{version}/files": "write" for version in ("v1beta", "v1alpha")},
    **{f"GET /{version}/files": "read" for version in ("v1beta", "v1alpha")},
    **{f"GET /{version}/files/{{file}}": "read" for version in ("v1beta", "v1alpha")},
    **{f"DELETE /{version}/files/{{file}}": "write" for version in ("v1beta", "v1alpha")},
    "POST /v1/resolve": "gateway",
    "PUT /v1/prompts/{digest}": "gateway",
    "GET /v1/prompts/{digest}": "gateway",
    "PUT /v1/prompts/responses/{response}": "gateway",
    "GET /v1/prompts/responses/{response}": "gateway",
    "DELETE /v1/prompts/responses/{response}": "gateway",
    "POST /v1/keys/verify": "gateway",
    "GET /admin/api/blobs": "admin",
    "GET /admin/api/stats": "admin",
    "POST /admin/api/erase": "admin",
    "POST /admin/api/sweep": "admin",
    "POST /admin/api/scrub": "admin",
    "POST /admin/api/check": "admin",
    "GET /admin/blobs/{digest}/picture": "admin",
}
CALLS: dict[str, Shape] = {
    "/v1/chat/completions": openai,
    "/v1/responses": openai,
    "/v1/responses/input_tokens": openai,
    "/v1/responses/compact": openai,
    "/v1/messages": anthropic,
    "/v1/messages/count_tokens": anthropic,
    **{
        f"/{version}/models/{{model}}:{method}": gemini
        for version in ("v1", "v1beta", "v1alpha")
        for method in ("generateContent", "streamGenerateContent", "countTokens")
    },
    **{
        f"{base}/{path}": dify
        for base in (
            "/plugin/{tenant}/dispatch",
            "/plugin/{tenant}/dispatch/redirect/v1",
            "/v2/invoke/dispatch",
        )
        for path in ("llm/invoke", "llm/num_tokens", "model/polling/start")
    },
}
DIFYS = ("/plugin/", "/v2/invoke/", "/e/", "/backwards-invocation/", "/health/check")
GATEWAY: dict[str, Scope] = {
    "GET /v1/responses/{response}": "gateway",
    "GET /v1/responses/{response}/input_items": "gateway",
    "DELETE /v1/responses/{response}": "gateway",
    **{f"{method} {path}": "gateway" for path in CALLS for method in ("POST", "*")},
    **{
        f"{method} /{version}/models{one}": "gateway"
        for version in ("v1", "v1beta", "v1alpha")
        for one in ("", "/{model:.+}")
        for method in ("GET", "*")
    },
    "* /v1/{path:(?s:.*)}": "gateway",
    "* /v1beta/{path:(?s:.*)}": "gateway",
    "* /v1alpha/{path:(?s:.*)}": "gateway",
    "* /upload/{path:(?s:.*)}": "gateway",
    "* /ws/{path:(?s:.*)}": "gateway",
    "* /plugin/{path:(?s:.*)}": "gateway",
    "* /v2/invoke/{path:(?s:.*)}": "gateway",
    "* /e/{path:(?s:.*)}": "gateway",
    "* /backwards-invocation/{path:(?s:.*)}": "gateway",
    "* /health/check": "gateway",
    "GET /admin/api/cache": "admin",
    "DELETE /admin/api/cache": "admin",
    "DELETE /admin/api/cache/{digest}": "admin",
    "POST /admin/cache/evict": "admin",
}
# What the daemon has of the store's: its cache, and what it passes through.
PASSED: dict[str, Scope] = {
    **{name: STORE[name] for name in STORE if " /v1/blobs" in name and "HEAD" not in name},
    "* /v1/blobs/{path:(?s:.*)}": "read",
    **{name: STORE[name] for name in STORE if "/files" in name or " /v1/uploads" in name},
    "GET /v1/tus/{upload}": "read",
    "HEAD /v1/tus/{upload}": "write",
    "* /v1/tus": "write",
    "* /v1/tus/{upload}": "write",
}
CACHE: dict[str, Scope] = {"GET /admin/blobs/{digest}/picture": "admin"}
EXPECTED: dict[str, dict[str, Scope]] = {
    "serve": PAGES | STORE | GATEWAY,
    "api": PAGES | STORE,
    "daemon": PAGES | PASSED | CACHE | GATEWAY,
}
# What stands in a path's place holders, where anything but a digest does.
SAMPLES = {
    "/v1/{path:(?s:.*)}": "/v1/batches",
    "/v1/models/{model:.+}": "/v1/models/org/m",
    "/v1beta/models/{model:.+}": "/v1beta/models/m",
    "/v1alpha/models/{model:.+}": "/v1alpha/models/m",
    "/v1beta/{path:(?s:.*)}": "/v1beta/models/gemini:generateContent",
    "/v1alpha/{path:(?s:.*)}": "/v1alpha/tunedModels",
    "/upload/{path:(?s:.*)}": "/upload/v1beta/other",
    "/ws/{path:(?s:.*)}": "/ws/google.ai",
    "/plugin/{path:(?s:.*)}": "/plugin/t/management/list",
    "/v2/invoke/{path:(?s:.*)}": "/v2/invoke/other",
    "/e/{path:(?s:.*)}": "/e/hook",
    "/backwards-invocation/{path:(?s:.*)}": "/backwards-invocation/transaction",
    "/v1/blobs/{path:(?s:.*)}": "/v1/blobs/a/b",
    "/v1/tus/{upload}": "/v1/tus/" + "0" * 32,
    **{f"/{v}/files/{{file}}": f"/{v}/files/file-cc{'a' * 24}" for v in ("v1beta", "v1alpha")},
    "/v1/files/{file}": "/v1/files/file-cc" + "a" * 24,
    "/v1/prompts/responses/{response}": "/v1/prompts/responses/resp_1",
    "/v1/responses/{response}": "/v1/responses/resp_1",
    "/v1/responses/{response}/input_items": "/v1/responses/resp_1/input_items",
    **{
        f"/v1/uploads/{{upload}}/{end}": f"/v1/uploads/upload_cc{'0' * 32}/{end}"
        for end in ("parts", "complete", "cancel")
    },
    "/v1/files/{file}/content": f"/v1/files/file-cc{'a' * 24}/content",
}
DIGEST = "sha256:" + "0" * 64


@pytest.fixture(params=sorted(SERVICES))
async def command(request: pytest.FixtureRequest, serve_here: Any, tmp_path: Path) -> Any:
    """Each command that serves, in this process."""
    assemble = SERVICES[request.param].assemble
    if request.param != "daemon":
        return await serve_here(assemble)
    api = await serve_here(SERVICES["api"].assemble)
    made = await api.keys.create(tenant=None, scopes={"read", "write", "gateway"})
    environment = {"COATCHECK_KEY": made.key.text}
    return await serve_here(assemble, environment, store=api.url, cache=tmp_path / "cache")


def name_of(route: Route) -> str:
    return f"{route.method} {re.sub('style-[0-9a-f]+', 'style-*', route.path)}"


def requests_of(route: Route) -> list[tuple[str, str]]:
    """Return the methods and paths by which a route is tried."""
    written = route.path.replace("{digest}", DIGEST).replace("{model}", "m")
    written = written.replace("{tenant}", "t")
    path = SAMPLES.get(route.path, written)
    assert "{" not in path, f"give {route.path} a sample"
    taken = "PUT" if route.path in CALLS else "POST"
    any_method = [taken] if "/tus" in route.path else ["GET", taken]  # GET has its own route there
    methods = any_method if route.method == "*" else [route.method]
    return [(method, path) for method in methods]


async def bad_keys(keys: Keys, scope: Scope) -> dict[str, tuple[str | None, int, str]]:
    """Return what must not open a route of a scope: the key, the status and the code."""
    revoked = await keys.create(tenant="default", scopes=ALL_SCOPES)
    await keys.revoke(revoked.key.id)
    expired = await keys.create(tenant="default", scopes=ALL_SCOPES, expires_at=1.0)
    other = await keys.create(tenant="default", scopes=ALL_SCOPES - {scope})
    daemons = await keys.create(tenant=None, scopes=ALL_SCOPES - {scope})
    return {
        "none": (None, 401, "key_missing"),
        "malformed": ("cck_", 401, "key_invalid"),
        "wrong": (Key(other.key.id, "a" * 40).text, 401, "key_invalid"),
        "unknown": (f"cck_aaaaaaaa_{'a' * 40}", 401, "key_invalid"),
        "revoked": (revoked.key.text, 401, "key_invalid"),
        "expired": (expired.key.text, 401, "key_invalid"),
        "scope": (other.key.text, 403, "scope_missing"),
        "daemon's scope": (daemons.key.text, 403, "scope_missing"),
    }


# How each client sends its key, and the form in which it is told no.
CLIENTS: dict[Shape, tuple[str, str, dict[str, str]]] = {
    native: ("Coatcheck-Key", "{}", {}),
    openai: ("Authorization", "Bearer {}", {}),
    anthropic: ("x-api-key", "{}", {"anthropic-version": "2023-06-01"}),
    gemini: ("x-goog-api-key", "{}", {"x-goog-api-client": "genai"}),
    dify: ("X-Api-Key", "{}", {"X-Plugin-ID": "langgenius/openai"}),
}


def shapes_of(route: Route) -> list[Shape]:
    """Return the forms in which a route's clients read errors."""
    if route.render_problem is None or route.path.startswith("/v1/tus"):
        return [native]
    if call := CALLS.get(route.path):
        return [call]
    if route.path.startswith(DIFYS):
        return [dify]
    if route.path.startswith("/v1/responses/"):
        return [openai]
    return [openai, anthropic] if route.path.startswith("/v1/") else [gemini]


def test_every_route_is_in_a_table(command: Any, request: pytest.FixtureRequest) -> None:
    expected = EXPECTED[request.node.callspec.params["command"]]
    scopes = {name_of(route): route.scope for route in command.routes}
    assert {name for name, scope in scopes.items() if scope is None} == OPEN
    assert {name: scope for name, scope in scopes.items() if scope is not None} == expected


async def test_no_bad_key_opens_any_route(command: Any, http: ClientSession) -> None:
    bad = {scope: await bad_keys(command.keys, scope) for scope in ALL_SCOPES}
    tries = [
        (route, method, path, shape)
        for route in command.routes
        for method, path in requests_of(route)
        for shape in shapes_of(route)
    ]
    for route, method, path, shape in tries:
        header, form, marks = CLIENTS[shape]
        for name, (key, status, code) in (bad[route.scope] if route.scope else {}).items():
            where = f"{method} {path} as {shape.__name__} with {name}"
            headers = marks | ({} if key is None else {header: form.format(key)})
            async with http.request(method, command.url + path, headers=headers) as answer:
                in_stream = shape is dify and "/dispatch/" in path
                assert answer.status == (200 if in_stream else status), where
                assert ("WWW-Authenticate" in answer.headers) == (status == 401), where
                assert answer.headers["x-should-retry"] == "false", where
                if method != "HEAD":
                    body = await answer.read()
                    if in_stream and method == "POST":
                        form_told = (
                            "application/json" if "/polling/" in path else "text/event-stream"
                        )
                        assert answer.content_type == form_told, where
                    told = json.loads(body.removeprefix(b"data:"))
                    assert shape(status, told) == code, where
                    is_problem = answer.content_type == "application/problem+json"
                    assert is_problem == (shape is native), where


async def test_a_key_for_the_routes_scope_opens_it(command: Any, http: ClientSession) -> None:
    made = {
        scope: await command.keys.create(tenant="default", scopes={scope}) for scope in ALL_SCOPES
    }
    for route in command.routes:
        if route.scope is None:
            continue
        headers = {"Coatcheck-Key": made[route.scope].key.text}
        for method, path in requests_of(route):
            async with http.request(method, command.url + path, headers=headers) as answer:
                assert answer.status not in (401, 403), f"{method} {path}"


async def test_what_is_open_takes_any_key_and_none(command: Any, http: ClientSession) -> None:
    for route in command.routes:
        if route.scope is None:
            for headers in ({}, {"Coatcheck-Key": "cck_wrong"}):
                async with http.get(command.url + route.path, headers=headers) as answer:
                    assert answer.status == 200
