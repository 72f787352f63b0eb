"""Who is let in, and for which tenant a request speaks."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
from aiohttp import ClientSession, encode_basic_auth, web

from coatcheck.protocol import Scope
from coatcheck.web import Principal, Route, Server, is_known, tenant_of

Serve: TypeAlias = Callable[..., Awaitable[Server]]


async def hello(request: web.Request) -> web.StreamResponse:
    return web.Response(text=tenant_of(request))


def routes(scope: Scope = "read") -> list[Route]:
    return [Route(method, "/hello", hello, scope=scope) for method in ("GET", "POST", "DELETE")]


class Keys:
    """A key of acme's, and a daemon's."""

    is_open = False

    async def identify(self, secret: str | None) -> Principal | None:
        match secret:
            case "cck_acme":
                return Principal("acme", frozenset({"read", "admin"}))
            case "cck_daemon":
                return Principal(None, frozenset({"read"}))
            case _:
                return None


class Unknowing:
    """Fails the test that asks it."""

    is_open = False

    async def identify(self, secret: str | None) -> Principal | None:
        raise AssertionError(secret)


@pytest.mark.parametrize(
    ("key", "named", "status", "answer"),
    [
        ("cck_acme", None, 200, "acme"),
        ("cck_acme", "acme", 200, "acme"),
        ("cck_acme", "other", 403, "tenant_foreign"),
        ("cck_daemon", "acme", 200, "acme"),
        ("cck_daemon", "5f3c-11:eu@x.y", 200, "5f3c-11:eu@x.y"),
        ("cck_daemon", None, 400, "tenant_missing"),
        ("cck_daemon", "", 400, "tenant_invalid"),
        ("cck_daemon", "-a", 400, "tenant_invalid"),
        ("cck_daemon", "a/b", 400, "tenant_invalid"),
        ("cck_daemon", "a" * 129, 400, "tenant_invalid"),
    ],
)
async def test_a_daemons_key_names_its_tenant_and_others_are_bound_to_theirs(
    serve: Serve, http: ClientSession, key: str, named: str | None, status: int, answer: str
) -> None:
    server = await serve(routes(), None, Keys())
    headers = {"Coatcheck-Key": key} | ({} if named is None else {"Coatcheck-Tenant": named})
    async with http.get(f"{server.address.url}/hello", headers=headers) as got:
        text = await got.text() if status == 200 else (await got.json(content_type=None))["code"]
        assert (got.status, text) == (status, answer)


async def who(request: web.Request) -> web.StreamResponse:
    return web.Response(text=tenant_of(request) if is_known(request) else "nobody")


@pytest.mark.parametrize(
    ("query", "key", "status", "answer"),
    [
        ("?ticket=1", None, 200, "nobody"),
        ("?ticket=", None, 200, "nobody"),
        ("?ticket=1", "theirs", 200, "nobody"),
        ("?ticket=1", "cck_acme", 200, "acme"),
        ("?ticket=1", "cck_wrong", 401, "key_invalid"),
        ("?ticket=1&key=cck_wrong", None, 401, "key_invalid"),
        ("?other=1", None, 401, "key_missing"),
        ("", None, 401, "key_missing"),
    ],
)
async def test_what_nobody_can_guess_may_stand_for_a_key(
    serve: Serve, http: ClientSession, query: str, key: str | None, status: int, answer: str
) -> None:
    route = Route("GET", "/who", who, scope="read", capability="ticket")
    server = await serve([route], None, Keys())
    headers = {} if key is None else {"x-goog-api-key": key}
    async with http.get(f"{server.address.url}/who{query}", headers=headers) as got:
        text = await got.text() if status == 200 else (await got.json(content_type=None))["code"]
        assert (got.status, text) == (status, answer)


async def test_without_keys_a_capability_opens_nothing_to_strangers(
    serve: Serve, http: ClientSession
) -> None:
    route = Route("GET", "/who", who, scope="read", capability="ticket")
    server = await serve([route])
    async with http.get(
        f"{server.address.url}/who?ticket=1", headers={"Host": "evil.example"}
    ) as got:
        assert got.status == 403


@pytest.mark.parametrize(("named", "status"), [("default", 200), ("acme", 403)])
async def test_without_keys_there_is_one_tenant(
    serve: Serve, http: ClientSession, named: str, status: int
) -> None:
    server = await serve(routes())
    headers = {"Coatcheck-Tenant": named, "Authorization": "Bearer cck_whatever"}
    async with http.get(f"{server.address.url}/hello", headers=headers) as answer:
        assert answer.status == status


@pytest.mark.parametrize(
    ("method", "origin", "status"),
    [
        ("GET", None, 200),
        ("GET", "https://evil.example", 200),
        ("POST", None, 200),
        ("POST", "http://coat.example", 200),
        ("POST", "https://evil.example", 403),
        ("DELETE", "null", 403),
    ],
)
async def test_a_browsers_login_changes_nothing_for_other_sites(
    serve: Serve, http: ClientSession, method: str, origin: str | None, status: int
) -> None:
    server = await serve(routes("admin"), None, Keys())
    headers = {"Host": "coat.example"} | ({} if origin is None else {"Origin": origin})
    url = f"{server.address.url}/hello"
    login = {**headers, "Authorization": encode_basic_auth("operator", "cck_acme")}
    async with http.request(method, url, headers=login) as answer:
        assert answer.status == status
    bearer = {**headers, "Authorization": "Bearer cck_acme"}
    async with http.request(method, url, headers=bearer) as answer:
        assert answer.status == 200


LINK = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
FRAME = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
IMAGE = {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}


@pytest.mark.parametrize(
    ("site", "method", "scope", "how", "status"),
    [
        ("cross-site", "GET", "read", IMAGE, 403),
        ("same-site", "GET", "read", IMAGE, 403),
        ("same-origin", "GET", "read", IMAGE, 200),
        ("none", "GET", "read", LINK, 200),
        ("cross-site", "GET", "read", LINK, 403),
        ("cross-site", "GET", "admin", LINK, 200),
        ("same-site", "HEAD", "admin", LINK, 200),
        ("cross-site", "GET", "admin", FRAME, 403),
        ("cross-site", "GET", "admin", IMAGE, 403),
        ("cross-site", "POST", "admin", LINK, 403),
    ],
)
@pytest.mark.parametrize("has_keys", [False, True])
async def test_other_sites_may_link_to_the_pages_and_nothing_else(
    serve: Serve,
    http: ClientSession,
    has_keys: bool,
    site: str,
    method: str,
    scope: Scope,
    how: dict[str, str],
    status: int,
) -> None:
    server = await serve(routes(scope), None, Keys() if has_keys else None)
    url = f"{server.address.url}/hello"
    browser = {"Sec-Fetch-Site": site, **how}
    login = browser | {"Authorization": encode_basic_auth("operator", "cck_acme")}
    async with http.request(method, url, headers=login) as answer:
        assert answer.status == status
        if status == 403 and method != "HEAD":
            assert (await answer.json(content_type=None))["code"] == "origin_foreign"
    if has_keys:  # a page that knows a key of its own may use it
        async with http.request(method, url, headers=browser | {"x-api-key": "cck_acme"}) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(("how", "status"), [(LINK, 200), (IMAGE, 403)])
async def test_what_is_open_to_all_is_open_to_links_while_there_are_no_keys(
    serve: Serve, http: ClientSession, how: dict[str, str], status: int
) -> None:
    async def alive(request: web.Request) -> web.StreamResponse:
        return web.Response(text="alive")

    server = await serve([Route("GET", "/", alive, scope=None)])
    headers = {"Sec-Fetch-Site": "cross-site", **how}
    async with http.get(server.address.url, headers=headers) as answer:
        assert answer.status == status


async def test_the_pages_ask_a_browser_for_a_login(serve: Serve, http: ClientSession) -> None:
    server = await serve(routes("admin"), None, Keys())
    async with http.get(f"{server.address.url}/hello") as answer:
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="Coatcheck"'
        assert answer.headers["x-should-retry"] == "false"


async def test_a_body_is_not_read_before_its_sender_is_known(
    serve: Serve, http: ClientSession
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        raise AssertionError

    server = await serve([Route("POST", "/", handler, scope="write")], None, Keys())
    async with http.post(server.address.url, data=b"x" * 1000, expect100=True) as answer:
        assert answer.status == 401


async def test_what_is_open_to_all_looks_at_no_key(serve: Serve, http: ClientSession) -> None:
    async def alive(request: web.Request) -> web.StreamResponse:
        return web.Response(text="alive")

    server = await serve([Route("GET", "/", alive, scope=None)], None, Unknowing())
    headers = {"Coatcheck-Key": "cck_a", "Host": "coat.example"}
    async with http.get(server.address.url, headers=headers) as answer:
        assert await answer.text() == "alive"
