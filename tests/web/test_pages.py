"""What every process has once: health, the admin page, the document of its routes."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from aiohttp import ClientSession, web
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict
from yarl import URL

from coatcheck.protocol import Digest, Json, JsonObject
from coatcheck.web import (
    AdminSection,
    Answer,
    Face,
    Operation,
    Parameter,
    Principal,
    ReadinessCheck,
    Route,
    Server,
    Templates,
    join_faces,
    join_routes,
    json_response,
    openapi_document,
    read_limit,
    read_model,
)
from coatcheck.web.health import health_routes
from coatcheck.web.template import in_bytes, in_utc

Serve = Callable[..., Awaitable[Server]]


class Inner(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    number: int


class Thing(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    inner: list[Inner]
    note: str | None = None


async def take(request: web.Request) -> web.StreamResponse:
    return json_response(await read_model(request, Thing, 1000), status=201)


TAKE = Route(
    "POST",
    "/things/{digest}",
    take,
    Operation(
        "Take a thing",
        "things",
        {201: Answer("taken", Thing), 204: Answer("nothing")},
        body=Thing,
        parameters=[Parameter("limit", "how many", schema={"type": "integer"})],
        description="Longer.",
    ),
    scope=None,
)


async def passes() -> str | None:
    return None


async def fails() -> str | None:
    return "the disk is gone"


async def test_health_says_alive(serve: Serve, http: ClientSession) -> None:
    server = await serve(join_faces([], title="Coatcheck", version="1"))
    async with http.get(f"{server.address.url}/healthz") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("check", "status", "word", "reason"),
    [(passes, 200, "ready", "ok"), (fails, 503, "unready", "the disk is gone")],
)
async def test_readiness_asks_every_face(
    serve: Serve,
    http: ClientSession,
    check: Callable[[], Awaitable[str | None]],
    status: int,
    word: str,
    reason: str,
) -> None:
    faces = [
        Face([], checks=[ReadinessCheck("store", check)]),
        Face([], checks=[ReadinessCheck("cache", passes)]),
    ]
    server = await serve(join_faces(faces, title="Coatcheck", version="1"))
    async with http.get(f"{server.address.url}/readyz") as answer:
        assert answer.status == status
        assert await answer.json() == {"status": word, "checks": {"store": reason, "cache": "ok"}}


async def test_a_check_that_does_not_answer_is_a_reason(serve: Serve, http: ClientSession) -> None:
    async def hangs() -> str | None:
        await asyncio.Event().wait()
        raise AssertionError

    checks = [ReadinessCheck("store", hangs), ReadinessCheck("cache", passes)]
    server = await serve(health_routes(checks, patience_seconds=0.01))
    async with http.get(f"{server.address.url}/readyz") as answer:
        assert answer.status == 503
        assert (await answer.json())["checks"] == {
            "store": "no answer within 0.01 seconds",
            "cache": "ok",
        }


async def test_the_admin_page_holds_every_section_and_loads_nothing_foreign(
    serve: Serve, http: ClientSession
) -> None:
    async def first(tenant: str) -> Markup:
        return Markup("<p>first of {}</p>").format(tenant)

    async def second(tenant: str) -> Markup:
        return Markup.escape("<script>")

    faces = [
        Face([], sections=[AdminSection("one", "One & <only>", first)]),
        Face([], sections=[AdminSection("two", "Two", second)]),
    ]
    server = await serve(join_faces(faces, title="Coatcheck", version="1"))
    async with http.get(f"{server.address.url}/admin") as answer:
        page = await answer.text()
        policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<p>first of default</p>" in page
    assert "One &amp; &lt;only&gt;" in page
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "style=" not in page
    assert "//" not in page
    style = page.partition('rel="stylesheet" href="')[2].partition('"')[0]
    async with http.get(f"{server.address.url}{style}") as answer:
        assert (answer.status, answer.content_type) == (200, "text/css")


class Keys:
    """Knows a key for each scope: its own name."""

    is_open = False

    async def identify(self, secret: str | None) -> Principal | None:
        match secret:
            case "read" | "admin" as scope:
                return Principal("acme", frozenset([scope]))
            case _:
                return None


@pytest.mark.parametrize(("key", "status"), [("", 401), ("read", 403), ("admin", 200)])
async def test_the_admin_page_is_for_keys_that_may_administer(
    serve: Serve, http: ClientSession, key: str, status: int
) -> None:
    server = await serve(join_faces([], title="Coatcheck", version="1"), None, Keys())
    async with http.get(f"{server.address.url}/admin", headers={"Coatcheck-Key": key}) as answer:
        assert answer.status == status


async def test_the_first_face_wins_a_clash(serve: Serve, http: ClientSession) -> None:
    async def one(request: web.Request) -> web.StreamResponse:
        return web.Response(text="one")

    async def two(request: web.Request) -> web.StreamResponse:
        return web.Response(text="two")

    table = join_routes(
        [
            [Route("GET", "/a", one, scope=None)],
            [Route("GET", "/a", two, scope=None), Route("GET", "/b", two, scope=None)],
        ]
    )
    server = await serve(table)
    async with http.get(f"{server.address.url}/a") as answer:
        assert await answer.text() == "one"
    async with http.get(f"{server.address.url}/b") as answer:
        assert await answer.text() == "two"


def references(value: Json) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return [
            *cast(list[str], own),
            *(ref for item in value.values() for ref in references(item)),
        ]
    if isinstance(value, list):
        return [ref for item in value for ref in references(item)]
    return []


def test_the_document_describes_routes_and_models() -> None:
    document = openapi_document([TAKE], title="Coatcheck", version="1.2")
    assert document["openapi"] == "3.1.0"
    assert document["info"] == {"title": "Coatcheck", "version": "1.2"}
    paths = cast(dict[str, dict[str, JsonObject]], document["paths"])
    operation = paths["/things/{digest}"]["post"]
    assert operation["summary"] == "Take a thing"
    assert operation["description"] == "Longer."
    parameters = cast(list[JsonObject], operation["parameters"])
    assert [item["name"] for item in parameters] == ["digest", "limit"]
    assert set(cast(JsonObject, operation["responses"])) == {"201", "204", "default"}
    schemas = cast(dict[str, Json], cast(JsonObject, document["components"])["schemas"])
    assert set(schemas) == {"Thing", "Inner", "Problem"}
    used = {ref.removeprefix("#/components/schemas/") for ref in references(document)}
    assert used == set(schemas)


def test_the_document_tells_errors_of_another_shape() -> None:
    class ProviderError(BaseModel):
        error: Inner

    operation = Operation("Talk", "gateway", {200: Answer("said", "*/*")}, error=ProviderError)
    document = openapi_document(
        [TAKE, Route("POST", "/talk", take, operation, scope=None)], title="Coatcheck", version="1"
    )
    paths = cast(Any, document["paths"])
    contents = {path: paths[path]["post"]["responses"]["default"]["content"] for path in paths}
    assert contents == {
        "/things/{digest}": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        },
        "/talk": {"application/json": {"schema": {"$ref": "#/components/schemas/ProviderError"}}},
    }
    assert "ProviderError" in cast(Any, document["components"])["schemas"]


def test_the_document_says_what_a_digest_is() -> None:
    document = openapi_document([TAKE], title="Coatcheck", version="1")
    schema = cast(Any, document["paths"])["/things/{digest}"]["post"]["parameters"][0]["schema"]
    assert schema["type"] == "string"
    assert re.search(schema["pattern"], Digest.of(b""))
    assert not re.search(schema["pattern"], "sha256:")


async def test_the_document_is_served_and_names_itself(serve: Serve, http: ClientSession) -> None:
    server = await serve(join_faces([Face([TAKE])], title="Coatcheck", version="1"))
    async with http.get(f"{server.address.url}/openapi.json") as answer:
        paths = (await answer.json())["paths"]
    assert {"/things/{digest}", "/healthz", "/readyz", "/openapi.json"} <= set(paths)


async def test_models_are_read_strictly_and_errors_name_the_path(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve([TAKE])
    url = f"{server.address.url}/things/x"
    async with http.post(url, json={"name": "a", "inner": [{"number": 1}]}) as answer:
        assert answer.status == 201
        assert await answer.json() == {"name": "a", "inner": [{"number": 1}]}
    for body, code, path in [
        (b'{"name": "a", "inner": [{"number": "x"}]}', "request_malformed", "inner.0.number"),
        (b'{"name": "a", "inner": [], "more": 1}', "request_malformed", "more"),
        (b"[1]", "request_malformed", None),
        (b"not json", "json_invalid", None),
        (b'{"name": "a", "name": "b"}', "json_invalid", None),
        (b"", "json_invalid", None),
    ]:
        async with http.post(url, data=body) as answer:
            problem = await answer.json(content_type=None)
            assert (answer.status, problem["code"], problem.get("path")) == (400, code, path)


@pytest.mark.parametrize(
    ("query", "limit"),
    [
        ("", 10),
        ("?limit=1", 1),
        ("?limit=100", 100),
        ("?limit=101", None),
        ("?limit=0", None),
        ("?limit=007", None),
        ("?limit=+7", None),
        ("?limit=%2B7", None),
        ("?limit=-7", None),
        ("?limit=7.0", None),
        ("?limit=1e1", None),
        ("?limit=", None),
        ("?limit=%D9%A7", None),
        ("?limit=" + "9" * 5000, None),
    ],
)
async def test_a_limit_is_a_number_in_its_range(
    serve: Serve, http: ClientSession, query: str, limit: int | None
) -> None:
    async def listing(request: web.Request) -> web.StreamResponse:
        return json_response({"limit": read_limit(request, 10, 100)})

    server = await serve([Route("GET", "/list", listing, scope=None)])
    async with http.get(URL(f"{server.address.url}/list{query}", encoded=True)) as answer:
        body = await answer.json(content_type=None)
    if limit is None:
        assert (answer.status, body["code"]) == (400, "limit_invalid")
    else:
        assert (answer.status, body) == (200, {"limit": limit})


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, "-"), (0, "0 B"), (999, "999 B"), (2_600_000, "2.6 MB"), (5 * 10**15, "5000.0 TB")],
)
def test_sizes_are_written_for_people(size: int | None, text: str) -> None:
    assert in_bytes(size) == text


def test_times_are_written_in_utc() -> None:
    assert in_utc(0) == "1970-01-01 00:00:00 UTC"
    assert in_utc(None) == "-"


def test_templates_escape_what_they_are_given() -> None:
    page = Templates("coatcheck.web").render(
        "admin.html", title="<b>", style_path="x", icon_path="y", sections=[]
    )
    assert "<b>" not in page


async def test_a_form_of_the_page_may_be_sent(serve: Serve, http: ClientSession) -> None:
    """What a browser sends for a form under the page's policies passes the loopback rules."""
    server = await serve(join_faces([], title="Coatcheck", version="1"))
    async with http.get(f"{server.address.url}/admin") as answer:
        assert "form-action 'self'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Referrer-Policy"] == "same-origin"
