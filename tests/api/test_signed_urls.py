"""Signed URLs over HTTP: who gets one, what it opens, and what it does not."""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import ClientSession

from coatcheck.api import ApiConfig, StoreKeyring, face
from coatcheck.client import AsyncClient
from coatcheck.protocol import Digest
from coatcheck.store import Store, StoreConfig
from coatcheck.web import Server, build_app, join_faces

DATA = b"a ticket for a coat\n" * 1000
DIGEST = Digest.of(DATA)
UNKNOWN = Digest.of(b"nobody has this")


@dataclass(slots=True)
class Site:
    """A store with keys, its server, and the time."""

    store: Store
    server: Server
    headers: dict[str, dict[str, str]]
    times: list[float] = field(default_factory=lambda: [1_000_000.0])

    @property
    def url(self) -> str:
        return self.server.address.url


async def _site(stack_config: ApiConfig | None = None, *, has_keys: bool = True) -> Site:
    times = [1_000_000.0]
    store = await Store.open(
        StoreConfig(None, signed_url_seconds=600, hot_seconds=0.001), clock=lambda: times[0]
    )
    headers = {"acme": dict[str, str](), "other": dict[str, str](), "write": dict[str, str]()}
    if has_keys:
        for tenant in ("acme", "other"):
            made = await store.keys.create(tenant=tenant, scopes={"read", "write"})
            headers[tenant] = {"Coatcheck-Key": made.key.text}
        made = await store.keys.create(tenant="acme", scopes={"write"})
        headers["write"] = {"Coatcheck-Key": made.key.text}
    table = join_faces([face(store, stack_config)], title="Coatcheck", version="1")
    keyring = await StoreKeyring.open(store.keys, clock=lambda: times[0])
    server = Server(build_app(table, keyring=keyring))
    await server.start()
    return Site(store, server, headers, times)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = await _site()
    yield site
    await site.server.stop(0)
    await site.store.close()


async def put(site: Site, http: ClientSession, tenant: str = "acme", data: bytes = DATA) -> None:
    url = f"{site.url}/v1/blobs"
    async with http.post(url, data=data, headers=site.headers[tenant]) as answer:
        assert answer.status == 201


async def ask(
    site: Site,
    http: ClientSession,
    body: object = None,
    *,
    tenant: str = "acme",
    digest: Digest = DIGEST,
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, object]]:
    url = f"{site.url}/v1/blobs/{digest}/signed-url"
    sent = {**site.headers[tenant], **(headers or {})}
    async with http.post(url, json={} if body is None else body, headers=sent) as answer:
        assert answer.headers.get("Cache-Control") == "no-store" or answer.status != 200
        return answer.status, await answer.json(content_type=None)


async def signed(site: Site, http: ClientSession, body: object = None) -> str:
    status, answer = await ask(site, http, body)
    assert status == 200
    return str(answer["url"])


async def get(http: ClientSession, url: str, method: str = "GET", **headers: str) -> str:
    """Return the status, and the code of an error."""
    async with http.request(method, url, headers=headers) as answer:
        if answer.status < 400 or method == "HEAD":
            return str(answer.status)
        return f"{answer.status} {(await answer.json(content_type=None))['code']}"


async def test_it_opens_the_blob_as_a_key_would(site: Site, http: ClientSession) -> None:
    await put(site, http)
    url = await signed(site, http)
    assert url.startswith(f"{site.url}/v1/blobs/{DIGEST}?expires=1000800&signature=")
    for method in ("GET", "HEAD"):
        for asked, status in [({}, 200), ({"Range": "bytes=3-7"}, 206), ({"If-Match": '"x"'}, 412)]:
            seen: list[tuple[int, dict[str, str], bytes]] = []
            for where, key in [(url, {}), (url.partition("?")[0], site.headers["acme"])]:
                async with http.request(method, where, headers={**asked, **key}) as answer:
                    kept = {n: v for n, v in answer.headers.items() if n not in ("Date",)}
                    seen.append((answer.status, kept, await answer.read()))
            assert seen[0] == seen[1]
            assert seen[0][0] == status


async def test_the_client_asks_for_one(site: Site, http: ClientSession) -> None:
    await put(site, http)
    async with AsyncClient(site.url, site.headers["acme"]["Coatcheck-Key"]) as client:
        one, longer = [await client.signed_url(DIGEST, expires_seconds=n) for n in (None, 7200)]
    assert (one.expires_at, longer.expires_at) == (1_000_800, 1_007_400)
    for each in (one, longer):
        assert await get(http, each.url) == "200"


async def test_it_is_the_same_text_within_a_window(site: Site, http: ClientSession) -> None:
    await put(site, http)
    first = await ask(site, http)
    assert first[1]["expires_at"] == 1_000_800
    assert first[1]["same_until"] == 1_000_200
    site.times[0] = 1_000_199.9
    assert await ask(site, http) == first
    site.times[0] = 1_000_200.0
    assert (await ask(site, http))[1]["expires_at"] == 1_001_400


async def test_it_ends_when_it_says(site: Site, http: ClientSession) -> None:
    await put(site, http)
    url, longer = await signed(site, http), await signed(site, http, {"expires_seconds": 86_400})
    site.times[0] = 1_000_799.9
    assert await get(http, url) == "200"
    site.times[0] = 1_000_800.0
    assert await get(http, url) == "403 signature_expired"
    assert await get(http, url, "HEAD") == "403"
    assert await get(http, longer) == "200"


async def test_it_opens_nothing_else(site: Site, http: ClientSession) -> None:
    await put(site, http)
    await put(site, http, data=b"another")
    url = await signed(site, http)
    path, _, query = url.partition("?")
    expires, signature = (parse_qs(query)[name][0] for name in ("expires", "signature"))
    other = f"{site.url}/v1/blobs/{Digest.of(b'another')}?{query}"
    for changed in (
        other,
        f"{site.url}/v1/blobs/{UNKNOWN}?{query}",
        f"{path}?expires={int(expires) + 1}&signature={signature}",
        f"{path}?expires={expires}&signature={signature[:-2]}",
        f"{path}?expires={expires}&signature=",
        f"{path}?signature={signature}",
    ):
        assert await get(http, changed) == "403 signature_invalid", changed
        assert await get(http, changed, "HEAD") == "403"
    assert await get(http, f"{path}?expires={expires}") == "401 key_missing"
    for method in ("PUT", "DELETE"):
        assert await get(http, url, method) == "401 key_missing"
    assert await get(http, f"{path}/signed-url?{query}", "POST") == "401 key_missing"
    assert await get(http, f"{site.url}/v1/blobs?{query}") == "401 key_missing"


async def test_a_key_decides_where_one_is_sent(site: Site, http: ClientSession) -> None:
    await put(site, http)
    url = await signed(site, http)
    assert await get(http, url, **site.headers["other"]) == "404 blob_not_found"
    assert await get(http, url, **site.headers["write"]) == "403 scope_missing"
    assert await get(http, url, **{"Coatcheck-Key": "cck_wrong"}) == "401 key_invalid"


async def test_it_grants_nothing(site: Site, http: ClientSession) -> None:
    """What its tenant does not hold any more it does not open, also where another tenant does."""
    await put(site, http)
    await put(site, http, tenant="other")
    url = await signed(site, http)
    await site.store.release("acme", DIGEST)
    assert await get(http, url) == "404 blob_not_found"
    await put(site, http)
    assert await get(http, url) == "200"
    site.times[0] += 86_400 * 2
    lasting = await signed_for_a_week(site, http)
    site.times[0] += 86_400 * 2
    assert await get(http, lasting) == "404 blob_not_found"


async def signed_for_a_week(site: Site, http: ClientSession) -> str:
    await put(site, http)
    return await signed(site, http, {"expires_seconds": 7 * 86_400})


async def test_erased_it_is_not_found(site: Site, http: ClientSession) -> None:
    await put(site, http)
    url = await signed(site, http)
    headers = {
        "Coatcheck-Key": (await site.store.keys.create(tenant=None, scopes={"admin"})).key.text
    }
    body = {"tenant": "acme"}
    async with http.post(f"{site.url}/admin/api/erase", json=body, headers=headers) as answer:
        assert '"done"' in await answer.text()
    assert await get(http, url) == "404 blob_not_found"


async def test_only_what_a_tenant_holds_is_signed(site: Site, http: ClientSession) -> None:
    await put(site, http)
    foreign = await ask(site, http, tenant="other")
    unknown = await ask(site, http, tenant="other", digest=UNKNOWN)
    assert foreign[0] == unknown[0] == 404
    assert str(foreign[1]).replace(DIGEST, "") == str(unknown[1]).replace(UNKNOWN, "")
    assert (await ask(site, http, tenant="write"))[1]["code"] == "scope_missing"


@pytest.mark.parametrize(
    "body",
    [
        {"expires_seconds": 0},
        {"expires_seconds": 7 * 86_400 + 1},
        {"expires_seconds": "60"},
        {"expires_seconds": 60.0},
        {"expires_seconds": True},
        {"seconds": 60},
        [],
    ],
)
async def test_how_long_is_bounded(site: Site, http: ClientSession, body: object) -> None:
    await put(site, http)
    status, answer = await ask(site, http, body)
    assert (status, answer["code"]) == (400, "request_malformed")


async def test_it_leads_where_the_asker_came_or_to_the_public_origin(http: ClientSession) -> None:
    for config, headers, origin in [
        (
            None,
            {"X-Forwarded-Host": "a.example", "X-Forwarded-Proto": "https"},
            "https://a.example",
        ),
        (ApiConfig(public_origin="https://b.example"), {}, "https://b.example"),
        (
            ApiConfig(public_origin="https://b.example"),
            {"X-Forwarded-Host": "a.example"},
            "https://b.example",
        ),
    ]:
        site = await _site(config)
        await put(site, http)
        _, answer = await ask(site, http, headers=headers)
        assert str(answer["url"]).startswith(f"{origin}/v1/blobs/{DIGEST}?")
        parts = urlsplit(str(answer["url"]))
        assert await get(http, f"{site.url}{parts.path}?{parts.query}") == "200"
        await site.server.stop(0)
        await site.store.close()


async def test_it_ends_at_a_store_without_keys_too(http: ClientSession) -> None:
    site = await _site(has_keys=False)
    await put(site, http)
    url = await signed(site, http)
    assert await get(http, url) == "200"
    assert await get(http, url[:-1]) == "403 signature_invalid"
    site.times[0] += 1200
    assert await get(http, url) == "403 signature_expired"
    await site.server.stop(0)
    await site.store.close()


async def test_no_log_has_a_signature(
    site: Site, http: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    await put(site, http)
    with caplog.at_level(logging.DEBUG):
        url = await signed(site, http)
        for each in (url, url[:-1]):
            await get(http, each)
    signature = parse_qs(urlsplit(url).query)["signature"][0]
    assert f"path=/v1/blobs/{DIGEST} status=200" in caplog.text
    assert signature[:16] not in caplog.text
