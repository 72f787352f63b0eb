"""What the edge makes of errors, strangers and clients that are gone."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping

import pytest
from aiohttp import ClientPayloadError, ClientSession, web

from coatcheck.protocol import Digest, MalformedMessageError, Problem
from coatcheck.web import (
    BrokenAnswerError,
    Principal,
    ProblemError,
    Route,
    Server,
    refuse,
    tenant_of,
)

Serve = Callable[..., Awaitable[Server]]
Talk = Callable[[Server, bytes], Awaitable[bytes]]


def raising(error: Exception) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(request: web.Request) -> web.StreamResponse:
        raise error

    return handler


async def hello(request: web.Request) -> web.StreamResponse:
    return web.Response(text=tenant_of(request))


async def test_a_problem_is_answered_as_one(serve: Serve, http: ClientSession) -> None:
    error = refuse(422, "digest_mismatch", "Digest mismatch", "other bytes", expected="a")
    server = await serve([Route("GET", "/", raising(error), scope=None)])
    async with http.get(server.address.url) as answer:
        assert answer.status == 422
        assert answer.content_type == "application/problem+json"
        assert answer.headers["x-should-retry"] == "false"
        assert answer.headers["Cache-Control"] == "no-store"
        assert await answer.json(content_type=None) == {
            "type": "urn:coatcheck:problem:digest_mismatch",
            "title": "Digest mismatch",
            "status": 422,
            "code": "digest_mismatch",
            "detail": "other bytes",
            "expected": "a",
        }


async def test_a_retryable_problem_leaves_the_retry_to_the_client(
    serve: Serve, http: ClientSession
) -> None:
    error = ProblemError(
        Problem(503, "store_unavailable", "Unavailable", retryable=True), {"Retry-After": "1"}
    )
    assert error.retryable
    server = await serve([Route("GET", "/", raising(error), scope=None)])
    async with http.get(server.address.url) as answer:
        assert answer.status == 503
        assert "x-should-retry" not in answer.headers
        assert answer.headers["Retry-After"] == "1"


async def test_protocol_errors_are_problems_with_their_code_and_path(
    serve: Serve, http: ClientSession
) -> None:
    async def digest(request: web.Request) -> web.StreamResponse:
        return web.Response(text=Digest("sha256:xyz"))

    malformed = raising(MalformedMessageError("not text", "messages.0.content"))
    server = await serve(
        [
            Route("GET", "/digest", digest, scope=None),
            Route("GET", "/message", malformed, scope=None),
        ]
    )
    async with http.get(f"{server.address.url}/digest") as answer:
        problem = await answer.json(content_type=None)
        assert (answer.status, problem["code"]) == (400, "digest_invalid")
    async with http.get(f"{server.address.url}/message") as answer:
        problem = await answer.json(content_type=None)
        assert (problem["code"], problem["path"]) == ("message_malformed", "messages.0.content")


async def test_errors_of_the_router_are_problems(serve: Serve, http: ClientSession) -> None:
    server = await serve([Route("GET", "/hello", hello, scope="read")])
    async with http.get(f"{server.address.url}/nothing") as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (404, "not_found")
    async with http.delete(f"{server.address.url}/hello") as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, HEAD"
        assert (await answer.json(content_type=None))["code"] == "method_not_allowed"


async def test_a_path_refuses_methods_before_a_catch_all_takes_them(
    serve: Serve, http: ClientSession
) -> None:
    routes = [
        Route("GET", "/ours", hello, scope="read"),
        Route("PUT", "/ours", hello, scope="read"),
    ]
    server = await serve([*routes, Route("*", "/{tail:.*}", hello, scope="read")])
    async with http.delete(f"{server.address.url}/ours") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, PUT")
    async with http.delete(f"{server.address.url}/other") as answer:
        assert answer.status == 200


async def test_head_is_answered_wherever_get_is(serve: Serve, talk: Talk) -> None:
    server = await serve([Route("GET", "/hello", hello, scope="read")])
    got, asked = [
        await talk(server, f"{method} /hello HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        for method in ("GET", "HEAD")
    ]
    assert b"\r\nContent-Length: 7\r\n" in asked
    assert got == asked + b"default"


async def test_a_heads_own_handler_comes_first(serve: Serve, http: ClientSession) -> None:
    async def teapot(request: web.Request) -> web.StreamResponse:
        return web.Response(status=418)

    server = await serve(
        [Route("GET", "/a", hello, scope="read"), Route("HEAD", "/a", teapot, scope=None)]
    )
    async with http.head(f"{server.address.url}/a") as answer:
        assert answer.status == 418


def dialects_own(
    request: web.Request, problem: Problem, headers: Mapping[str, str]
) -> web.Response:
    """Return an error answer as a provider writes it."""
    return web.json_response(
        {"error": {"code": problem.code}}, status=problem.status, headers=headers
    )


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "code"),
    [
        ("DELETE", "/any/a", {}, 405, "method_not_allowed"),
        ("POST", "/any/a", {"Host": "evil.example"}, 403, "host_foreign"),
        ("DELETE", "/any/a", {"Origin": "null"}, 403, "origin_foreign"),
        ("POST", "/refused", {}, 422, "late"),
        ("POST", "/malformed", {}, 400, "message_malformed"),
        ("POST", "/failed", {}, 500, "internal_error"),
    ],
)
async def test_a_route_gives_every_error_its_own_shape(
    serve: Serve,
    http: ClientSession,
    method: str,
    path: str,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    handlers = {
        "/any/{name}": hello,
        "/refused": raising(refuse(422, "late", "Late")),
        "/malformed": raising(MalformedMessageError("not text", "messages.0")),
        "/failed": raising(KeyError("x")),
    }
    server = await serve(
        [
            Route("POST", path, run, render_problem=dialects_own, scope=None)
            for path, run in handlers.items()
        ]
    )
    url = f"{server.address.url}{path}"
    async with http.request(method, url, headers=headers) as answer:
        assert (answer.status, await answer.json()) == (status, {"error": {"code": code}})
        assert answer.headers.get("Allow") == ("POST" if status == 405 else None)
    async with http.request(method, f"{server.address.url}/nothing") as answer:
        assert (await answer.json(content_type=None))["code"] == "not_found"


async def test_the_other_routes_of_a_path_keep_problem_details(
    serve: Serve, http: ClientSession
) -> None:
    late = raising(refuse(422, "late", "Late"))
    routes = [
        Route("POST", "/a", late, render_problem=dialects_own, scope=None),
        Route("GET", "/a", late, scope=None),
    ]
    server = await serve(routes)
    async with http.get(f"{server.address.url}/a") as answer:
        assert (await answer.json(content_type=None))["code"] == "late"
    async with http.post(f"{server.address.url}/a") as answer:
        assert "error" in await answer.json()


async def test_a_body_in_another_transfer_coding_is_refused_and_not_read(
    serve: Serve, talk: Talk
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        raise AssertionError

    server = await serve([Route("POST", "/", handler, scope=None)])
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    coded = b"Transfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    answer = await talk(server, head + coded)
    assert answer.startswith(b"HTTP/1.1 501 ")
    assert b"transfer_coding_unsupported" in answer
    assert b"\r\nx-should-retry: false\r\n" in answer


async def test_chunked_is_known_in_any_case(serve: Serve, talk: Talk) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=await request.read())

    server = await serve([Route("POST", "/", handler, scope=None)])
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: Chunked\r\n\r\n"
    answer = await talk(server, head + b"1\r\nx\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /hello HTTP/1.0\r\nHost: localhost\r\n\r\n",
        b"GET /nothing HTTP/1.0\r\nHost: localhost\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
    ids=["answer", "problem", "no-http"],
)
async def test_the_server_names_itself_without_versions(
    serve: Serve, talk: Talk, request_bytes: bytes
) -> None:
    server = await serve([Route("GET", "/hello", hello, scope="read")])
    answer = await talk(server, request_bytes)
    assert b"\r\nServer: coatcheck\r\n" in answer
    assert b"aiohttp" not in answer


async def test_a_server_header_that_is_passed_on_stays(serve: Serve, http: ClientSession) -> None:
    async def relayed(request: web.Request) -> web.StreamResponse:
        return web.Response(headers={"Server": "upstream/1"})

    server = await serve([Route("GET", "/", relayed, scope=None)])
    async with http.get(server.address.url) as answer:
        assert answer.headers["Server"] == "upstream/1"


async def test_redirects_pass(serve: Serve, http: ClientSession) -> None:
    server = await serve([Route("GET", "/", raising(web.HTTPSeeOther("/hello")), scope=None)])
    async with http.get(server.address.url, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/hello")


async def test_an_unforeseen_error_is_logged_once_and_tells_nothing(
    serve: Serve, http: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve([Route("GET", "/", raising(KeyError("secret-value")), scope=None)])
    async with http.get(server.address.url) as answer:
        text = await answer.text()
        assert answer.status == 500
    assert "secret-value" not in text
    problem = json.loads(text)
    assert problem["code"] == "internal_error"
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.exc_info is not None
    assert problem["request_id"] in record.getMessage()


async def begin_and_fail(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    if "sized" in request.path:
        response.content_length = 100
    await response.prepare(request)
    await response.write(b"first bytes")
    raise RuntimeError("half way")


@pytest.mark.parametrize("request_line", ["GET /any HTTP/1.0", "GET /sized HTTP/1.1"])
async def test_a_begun_answer_that_fails_is_reset(serve: Serve, request_line: str) -> None:
    server = await serve([Route("GET", "/{name}", begin_and_fail, scope=None)])
    reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
    writer.write(f"{request_line}\r\nHost: localhost\r\n\r\n".encode())
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


@pytest.mark.parametrize(
    ("version", "size"),
    [("1.0", None), ("1.1", len(b"first bytes"))],
)
async def test_an_answer_broken_off_where_it_could_be_whole_is_reset(
    serve: Serve, version: str, size: int | None
) -> None:
    async def breaking(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = size
        await response.prepare(request)
        await response.write(b"first bytes")
        raise BrokenAnswerError("half way")

    server = await serve([Route("GET", "/any", breaking, scope=None)])
    reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
    writer.write(f"GET /any HTTP/{version}\r\nHost: localhost\r\n\r\n".encode())
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_a_begun_chunked_answer_that_fails_is_flushed_and_has_no_end(
    serve: Serve, talk: Talk
) -> None:
    server = await serve([Route("GET", "/any", begin_and_fail, scope=None)])
    answer = await talk(server, b"GET /any HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.endswith(b"\r\n\r\nb\r\nfirst bytes\r\n")


async def test_a_client_sees_a_broken_answer_as_broken(serve: Serve, http: ClientSession) -> None:
    async def breaking(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"first bytes")
        raise refuse(422, "late", "Late")

    server = await serve([Route("GET", "/", breaking, scope=None)])
    with pytest.raises((ClientPayloadError, ConnectionError)):
        async with http.get(server.address.url) as answer:
            await answer.read()


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example"}, "host_foreign"),
        ({"Host": "127.0.0.1.evil.example:8420"}, "host_foreign"),
        ({"Origin": "https://evil.example"}, "origin_foreign"),
        ({"Origin": "null"}, "origin_foreign"),
    ],
)
async def test_without_keys_strangers_are_refused_on_every_path(
    serve: Serve, http: ClientSession, headers: dict[str, str], code: str
) -> None:
    server = await serve([Route("POST", "/hello", hello, scope="read")])
    for path in ("/hello", "/nothing"):
        async with http.post(f"{server.address.url}{path}", headers=headers) as answer:
            problem = await answer.json(content_type=None)
            assert (answer.status, problem["code"]) == (403, code)


async def test_without_host_a_request_is_refused(serve: Serve, talk: Talk) -> None:
    server = await serve([Route("GET", "/hello", hello, scope="read")])
    answer = await talk(server, b"GET /hello HTTP/1.0\r\n\r\n")
    assert answer[8:13] == b" 403 "


async def test_our_own_pages_may_ask(serve: Serve, http: ClientSession) -> None:
    server = await serve([Route("POST", "/hello", hello, scope="read")])
    headers = {"Origin": server.address.url}
    async with http.post(f"{server.address.url}/hello", headers=headers) as answer:
        assert await answer.text() == "default"


class OneKey:
    is_open = False

    async def identify(self, secret: str | None) -> Principal | None:
        if secret == "cck_daemon":
            return Principal(None, frozenset({"read"}))
        if secret != "cck_right":
            return None
        return Principal("acme", frozenset({"read"}))


async def test_with_keys_the_key_names_the_tenant(serve: Serve, http: ClientSession) -> None:
    async def public(request: web.Request) -> web.StreamResponse:
        return web.Response(text="public")

    async def write(request: web.Request) -> web.StreamResponse:
        return web.Response(text=tenant_of(request))

    routes = [
        Route("GET", "/hello", hello, scope="read"),
        Route("GET", "/public", public, scope=None),
        Route("GET", "/write", write, scope="write"),
    ]
    server = await serve(routes, None, OneKey())
    url = server.address.url
    headers = {"Coatcheck-Key": "cck_right", "Host": "coatcheck.example"}
    async with http.get(f"{url}/hello", headers=headers) as answer:
        assert await answer.text() == "acme"
    async with http.get(f"{url}/hello", headers={"Coatcheck-Key": "cck_wrong"}) as answer:
        assert answer.status == 401
        assert (await answer.json(content_type=None))["code"] == "key_invalid"
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="Coatcheck"'
    async with http.get(f"{url}/hello", headers={"Authorization": "Bearer sk-x"}) as answer:
        assert answer.status == 401
        assert (await answer.json(content_type=None))["code"] == "key_missing"
    async with http.get(f"{url}/public") as answer:
        assert await answer.text() == "public"
    async with http.get(f"{url}/write", headers=headers) as answer:
        problem = await answer.json(content_type=None)
        assert (answer.status, problem["code"]) == (403, "scope_missing")


async def test_requests_are_logged_in_one_line_without_secrets(
    serve: Serve, http: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "coatcheck.request")
    server = await serve([Route("GET", "/hello", hello, scope="read")])
    url = f"{server.address.url}/hello?key=cck_secret"
    async with http.get(url, headers={"Authorization": "Bearer cck_secret"}) as answer:
        await answer.read()
    async with http.get(f"{server.address.url}/a%0Ab") as answer:
        await answer.read()
    first, second = [r.getMessage() for r in caplog.records if r.name == "coatcheck.request"]
    assert "cck_" not in first
    assert " method=GET path=/hello status=200 in=" in first
    traffic = server.traffic
    logged = [dict(item.split("=") for item in line.split()) for line in (first, second)]
    assert sum(int(line["in"]) for line in logged) == traffic.bytes_in
    assert sum(int(line["out"]) for line in logged) == traffic.bytes_out
    assert " path=/a%0Ab status=404 " in second
    assert "\n" not in second


async def test_broken_and_lost_requests_are_logged_too(
    serve: Serve, talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "coatcheck.request")
    begun = asyncio.Event()

    async def wait(request: web.Request) -> web.StreamResponse:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    server = await serve([Route("GET", "/wait", wait, scope=None)])
    await talk(server, b"nonsense\r\n\r\n")
    _, writer = await asyncio.open_connection(server.address.host, server.address.port)
    writer.write(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await begun.wait()
    writer.close()
    await server.stop(drain_seconds=5)
    first, second = [r.getMessage() for r in caplog.records if r.name == "coatcheck.request"]
    assert " method=- path=- status=400 " in first
    assert " path=/wait status=gone " in second
