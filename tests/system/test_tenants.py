"""Two tenants of one server: what is another's answers as what is nobody's, on every route."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest
from aiohttp import ClientSession

from coatcheck.cli.assembly import assemble_serve
from coatcheck.protocol import Digest, Json, JsonObject, prompt_digests

pytestmark = pytest.mark.system

THEIRS, MINE = b"their picture", b"my picture"
THEIR_MESSAGE: JsonObject = {"role": "user", "content": "theirs"}
NOBODYS = str(Digest.of(b"nobody's"))


@dataclass(frozen=True)
class Tenants:
    """A server, and a session for each of two tenants and for a daemon."""

    url: str
    me: ClientSession
    them: ClientSession
    daemon: ClientSession


@pytest.fixture
async def tenants(serve_here: Any) -> AsyncIterator[Tenants]:
    here = await serve_here(assemble_serve)
    async with AsyncExitStack() as stack:
        sessions: list[ClientSession] = []
        for tenant in ("me", "them", None):
            made = await here.keys.create(tenant=tenant, scopes={"read", "write", "gateway"})
            headers = {"Authorization": f"Bearer {made.key.text}"}
            sessions.append(await stack.enter_async_context(ClientSession(headers=headers)))
        found = Tenants(here.url, *sessions)
        for session, data in ((found.them, THEIRS), (found.me, MINE)):
            async with session.post(f"{here.url}/v1/blobs", data=data) as answer:
                assert answer.status == 201
        await pin(found.them, here.url, str(Digest.of(THEIRS)))
        body = {"model": "echo", "messages": [THEIR_MESSAGE]}
        async with found.them.post(
            f"{here.url}/v1/chat/completions", json=body, headers={"Coatcheck-Prompt": "keep"}
        ) as answer:
            assert answer.headers["Coatcheck-Prompt"] == their_prompt()
        yield found


async def pin(session: ClientSession, url: str, digest: str) -> None:
    async with session.put(f"{url}/v1/blobs/{digest}/pin") as answer:
        assert answer.status == 200


def their_prompt() -> str:
    return str(prompt_digests("openai.chat", [THEIR_MESSAGE])[-1])


def chat_with(digest: str) -> JsonObject:
    image: JsonObject = {"type": "image_url", "image_url": {"url": f"blob:{digest}"}}
    return {"model": "echo", "messages": [{"role": "user", "content": [image]}]}


def asked(digest: str) -> JsonObject:
    return {"digests": [digest]}


def chat_after(digest: str) -> JsonObject:
    return {"model": "echo", "coatcheck": {"parent": digest, "append": [THEIR_MESSAGE]}}


# A method, a path, and what makes the body.
Request: TypeAlias = tuple[str, str, Callable[[str], Json] | None]
BLOB_ROUTES: list[Request] = [
    ("GET", "/v1/blobs/{}", None),
    ("HEAD", "/v1/blobs/{}", None),
    ("POST", "/v1/blobs/missing", asked),
    ("POST", "/v1/resolve", asked),
    ("POST", "/v1/chat/completions", chat_with),
    ("PUT", "/v1/blobs/{}/pin", None),
    ("DELETE", "/v1/blobs/{}/pin", None),
    ("DELETE", "/v1/blobs/{}", None),
]
PROMPT_ROUTES: list[Request] = [
    ("GET", "/v1/prompts/{}?dialect=openai.chat", None),
    ("POST", "/v1/chat/completions", chat_after),
]


async def answer_of(
    session: ClientSession, url: str, route: Request, digest: str, **headers: str
) -> tuple[int, dict[str, str], str]:
    """Return an answer without the digest it is about, and without the time."""
    method, path, body = route
    async with session.request(
        method,
        url + path.format(digest),
        json=None if body is None else body(digest),
        headers=headers,
    ) as answer:
        text = (await answer.text()).replace(digest, "DIGEST")
        text = re.sub(r'"lease_expires_at":\d+', '"lease_expires_at":0', text)
        kept = {name: value for name, value in answer.headers.items() if name != "Date"}
        return answer.status, kept, text


@pytest.mark.parametrize("route", BLOB_ROUTES, ids=lambda route: f"{route[0]} {route[1]}")
async def test_anothers_blob_answers_as_nobodys(tenants: Tenants, route: Request) -> None:
    theirs = str(Digest.of(THEIRS))
    found = await answer_of(tenants.me, tenants.url, route, theirs)
    assert found == await answer_of(tenants.me, tenants.url, route, NOBODYS)
    assert found[0] == (200 if route[1].endswith(("missing", "resolve")) else 404)
    for digest in (theirs, NOBODYS):  # a daemon that asks for me is told the same
        named = {"Coatcheck-Tenant": "me"}
        assert found == await answer_of(tenants.daemon, tenants.url, route, digest, **named)
    async with tenants.them.get(f"{tenants.url}/v1/blobs/{theirs}") as answer:
        assert await answer.read() == THEIRS


@pytest.mark.parametrize("route", PROMPT_ROUTES, ids=lambda route: f"{route[0]} {route[1]}")
async def test_anothers_prompt_answers_as_nobodys(tenants: Tenants, route: Request) -> None:
    found = await answer_of(tenants.me, tenants.url, route, their_prompt())
    assert found == await answer_of(tenants.me, tenants.url, route, NOBODYS)
    assert found[0] == 404
    theirs = await answer_of(tenants.them, tenants.url, route, their_prompt())
    assert theirs[0] == 200
    assert theirs == await answer_of(
        tenants.daemon, tenants.url, route, their_prompt(), **{"Coatcheck-Tenant": "them"}
    )


async def test_lists_hold_what_is_ones_own(tenants: Tenants) -> None:
    for session, data in ((tenants.me, MINE), (tenants.them, THEIRS)):
        async with session.get(f"{tenants.url}/v1/blobs") as answer:
            blobs = (await answer.json())["blobs"]
        assert [blob["digest"] for blob in blobs] == [str(Digest.of(data))]


async def test_an_upload_answers_alike_whoever_has_the_blob(tenants: Tenants) -> None:
    async def upload(session: ClientSession, data: bytes) -> Any:
        async with session.post(f"{tenants.url}/v1/blobs", data=data) as answer:
            described = await answer.json()
            assert described.pop("ref") == f"blob:{described.pop('digest')}"
            return answer.status, described

    assert await upload(tenants.me, THEIRS) == await upload(tenants.me, b"brand new one")
    async with tenants.me.delete(f"{tenants.url}/v1/blobs/{Digest.of(THEIRS)}") as answer:
        assert answer.status == 200
    async with tenants.them.get(f"{tenants.url}/v1/blobs/{Digest.of(THEIRS)}") as answer:
        assert await answer.read() == THEIRS


async def test_a_key_of_one_tenant_asks_for_no_other(tenants: Tenants) -> None:
    for session, named, status in [
        (tenants.me, "them", 403),
        (tenants.me, "me", 200),
        (tenants.daemon, "them", 200),
    ]:
        headers = {"Coatcheck-Tenant": named}
        async with session.get(f"{tenants.url}/v1/blobs", headers=headers) as answer:
            assert answer.status == status


async def test_a_bound_key_uses_the_routes_of_daemons_for_its_own_tenant_alone(
    tenants: Tenants,
) -> None:
    """A daemon's key speaks for any tenant; whoever has a bound one learns nothing of others."""
    prompt = f"/v1/prompts/{their_prompt()}?dialect=openai.chat"
    body = {"digests": [str(Digest.of(THEIRS))]}
    for session, tenant, resolved, expanded in (
        (tenants.them, None, 200, 200),
        (tenants.them, "them", 200, 200),
        (tenants.me, "them", 403, 403),
        (tenants.me, None, 200, 404),
        (tenants.daemon, "them", 200, 200),
        (tenants.daemon, None, 400, 400),
    ):
        headers = {"Coatcheck-Tenant": tenant} if tenant else {}
        url = f"{tenants.url}/v1/resolve"
        async with session.post(url, json=body, headers=headers) as answer:
            assert answer.status == resolved
            told = await answer.json(content_type=None)
        if resolved == 200:
            assert bool(told["missing"]) == (session is tenants.me)
        async with session.get(tenants.url + prompt, headers=headers) as answer:
            assert answer.status == expanded


@pytest.mark.parametrize("method", ["HEAD", "PATCH", "DELETE", "GET"])
async def test_anothers_upload_answers_as_nobodys(tenants: Tenants, method: str) -> None:
    fields = {"Tus-Resumable": "1.0.0", "Upload-Length": "5"}
    async with tenants.them.post(f"{tenants.url}/v1/tus", headers=fields) as answer:
        theirs = answer.headers["Location"].rpartition("/")[2]
    fields = {
        "Tus-Resumable": "1.0.0",
        "Upload-Offset": "0",
        "Content-Type": "application/offset+octet-stream",
    }
    route: Request = (method, "/v1/tus/{}", None)
    found = await answer_of(tenants.me, tenants.url, route, theirs, **fields)
    assert found[0] == 404
    assert found == await answer_of(tenants.me, tenants.url, route, "0" * 32, **fields)
    async with tenants.them.head(f"{tenants.url}/v1/tus/{theirs}", headers=fields) as answer:
        assert answer.headers["Upload-Offset"] == "0"
