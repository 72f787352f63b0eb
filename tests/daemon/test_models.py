"""One list of models over several upstreams, and each model at the upstream that has it."""

import asyncio
import contextlib
import gzip
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anthropic
import openai
import pytest
from aiohttp import web
from google import genai

from coatcheck.daemon import models as models_module
from coatcheck.daemon.models import PATIENCE_SECONDS
from coatcheck.daemon.upstream import Upstreams

Fixture = Callable[..., Any]
ANTHROPIC = {"anthropic-version": "2023-06-01"}
MISSING = "Coatcheck-Models-Missing"


def lists(*ids: str, status: int = 200, **more: Any) -> Any:
    """Answer with a list in the form of OpenAI or Anthropic."""

    async def respond(request: web.Request) -> web.StreamResponse:
        data = [{"id": name, "from": ids[0]} for name in ids]
        return web.json_response({"data": data, **more}, status=status)

    return respond


async def ids_of(daemon: Any, path: str = "/v1/models", **headers: str) -> tuple[list[str], Any]:
    async with daemon.http.get(f"{daemon.url}{path}", headers=headers) as got:
        assert got.status == 200, await got.text()
        answer = await got.json()
        entries = answer.get("data", answer.get("models"))
        return [entry.get("id") or entry["name"] for entry in entries], got


async def test_all_upstreams_of_a_provider_make_one_list(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    upstreams = [
        await run_upstream(lists("gpt-1", "gpt-2", "small"), models=("gpt-*",)),
        await run_upstream(lists("small", "gpt-2", "echo"), models=("*",)),
        await run_upstream(lists("large", "small"), models=("*",)),
        await run_upstream(lists("claude"), dialect="anthropic.messages"),
    ]
    daemon = await run_daemon(*(upstream.config for upstream in upstreams))
    async with daemon.http.get(f"{daemon.url}/v1/models") as got:
        answer = await got.json()
    assert answer["object"] == "list"
    # Not `small` of the first, whose turns go to the second; nothing of the third, which no turn
    # reaches.
    assert [(entry["id"], entry.get("from")) for entry in answer["data"]] == [
        ("gpt-1", "gpt-1"),
        ("gpt-2", "gpt-1"),
        ("small", "small"),
        ("echo", None),
    ]
    assert MISSING not in got.headers
    assert not upstreams[3].seen


@pytest.mark.parametrize("header", ["Authorization", "x-goog-api-key"])
async def test_a_clients_own_key_is_shown_to_one_address(
    run_daemon: Fixture, run_upstream: Fixture, header: str
) -> None:
    headed = (("Authorization", "Bearer theirs"), ("x-goog-api-key", "theirs"))
    is_gemini = header == "x-goog-api-key"
    dialect = "gemini.generate" if is_gemini else "openai.chat"
    path, listed = "/v1/models?key=secret" if is_gemini else "/v1/models", lists("m")
    upstreams = [
        await run_upstream(listed, dialect=dialect, models=("a",), headers=headed),
        await run_upstream(listed, dialect=dialect, models=("b",)),
        await run_upstream(listed, dialect=dialect, models=("c",)),
    ]
    daemon = await run_daemon(*(upstream.config for upstream in upstreams))
    async with daemon.http.get(f"{daemon.url}{path}", headers={header: "secret"}):
        pass
    told = [
        "secret" in f"{seen.path} {sorted(seen.headers.items())}"
        for upstream in upstreams
        for seen in upstream.seen
    ]
    assert told == [False, True, False]


async def test_a_dialects_upstreams_count_each_for_its_own_turns(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    chat = await run_upstream(lists("a", "b"), models=("*",))
    responses = await run_upstream(lists("b", "c"), models=("*",), dialect="openai.responses")
    daemon = await run_daemon(chat.config, responses.config)
    assert (await ids_of(daemon))[0] == ["a", "b", "c", "echo"]


async def test_without_an_upstream_there_is_echo(run_daemon: Fixture) -> None:
    daemon = await run_daemon()
    assert (await ids_of(daemon))[0] == ["echo"]
    assert (await ids_of(daemon, **ANTHROPIC))[0] == ["echo"]
    assert (await ids_of(daemon, "/v1beta/models"))[0] == ["models/echo"]
    for path, headers, name in (
        ("/v1/models/echo", {}, "id"),
        ("/v1/models/any/model", {}, "id"),
        ("/v1/models/echo", ANTHROPIC, "id"),
        ("/v1beta/models/echo", {}, "name"),
    ):
        async with daemon.http.get(f"{daemon.url}{path}", headers=headers) as got:
            assert got.status == 200
            assert path.endswith((await got.json())[name])


async def test_an_upstream_that_fails_is_named_and_left_out(
    run_daemon: Fixture, run_upstream: Fixture, run_raw: Fixture
) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def nonsense(request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>")

    broken = await run_raw(hang_up)
    good = await run_upstream(lists("a"))
    daemon = await run_daemon(
        replace(good.config, name="broken, ä", base_url=broken),
        replace((await run_upstream(lists("x", status=500))).config, name="failing"),
        replace((await run_upstream(nonsense)).config, name="html"),
        replace((await run_upstream(lists("x", data={}))).config, name="other"),
        replace(good.config, name="good", models=("a",)),
    )
    # Turns with `a` go to the first of them all the same.
    found, got = await ids_of(daemon)
    assert found == ["echo"]
    assert got.headers[MISSING] == "broken%2C %C3%A4, failing, html, other"


async def test_an_upstream_that_is_slow_keeps_nobody_waiting(
    run_daemon: Fixture, run_upstream: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PATIENCE_SECONDS <= 5
    monkeypatch.setattr(models_module, "PATIENCE_SECONDS", 0.2)

    async def never(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async def trickles(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"data": [')
        await asyncio.Event().wait()
        raise AssertionError

    daemon = await run_daemon(
        (await run_upstream(never, models=("n",))).config,
        (await run_upstream(trickles, models=("t",))).config,
        (await run_upstream(lists("a"))).config,
    )
    found, got = await ids_of(daemon)
    assert (found, got.headers[MISSING]) == (["a", "echo"], "fake, fake")


async def test_where_no_upstream_has_a_list_the_first_ones_answer_comes_back(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    async def refuses(request: web.Request) -> web.StreamResponse:
        body = {"error": {"message": "no such key", "type": "x", "code": "invalid_api_key"}}
        return web.json_response(body, status=401, headers={"x-request-id": "r"})

    daemon = await run_daemon(
        (await run_upstream(refuses)).config, (await run_upstream(lists("a", status=500))).config
    )
    async with daemon.http.get(f"{daemon.url}/v1/models") as got:
        assert (got.status, got.headers["x-request-id"]) == (401, "r")
        assert (await got.json())["error"]["code"] == "invalid_api_key"
        assert got.headers.getall("Content-Type") == ["application/json; charset=utf-8"]


async def test_every_page_of_an_upstream_is_asked_for_and_pages_are_written(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    async def paged(request: web.Request) -> web.StreamResponse:
        after = request.query.get("after_id")
        begin = 0 if after is None else int(after) + 1
        data = [{"id": str(number)} for number in range(begin, begin + 2)]
        return web.json_response(
            {"data": data, "has_more": begin < 4, "last_id": data[-1]["id"], "first_id": "x"}
        )

    upstream = await run_upstream(paged, dialect="anthropic.messages")
    daemon = await run_daemon(upstream.config)
    path = "/v1/models?limit=4&lifecycle=active&beta=true"
    async with daemon.http.get(f"{daemon.url}{path}", headers=ANTHROPIC) as got:
        answer = await got.json()
    assert [entry["id"] for entry in answer["data"]] == ["0", "1", "2", "3"]
    assert (answer["has_more"], answer["last_id"]) == (True, "3")
    found, _ = await ids_of(daemon, "/v1/models?after_id=3", **ANTHROPIC)
    assert found == ["4", "5", "echo"]
    assert [seen.path.removeprefix("/v1") for seen in upstream.seen[:3]] == [
        "/v1/models?lifecycle=active&beta=true&limit=1000",
        "/v1/models?lifecycle=active&beta=true&limit=1000&after_id=1",
        "/v1/models?lifecycle=active&beta=true&limit=1000&after_id=3",
    ]


async def test_geminis_names_are_models_and_its_key_may_stand_in_the_query(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    async def respond(request: web.Request) -> web.StreamResponse:
        return web.json_response({"models": [{"name": "models/gemini-3"}]})

    upstream = await run_upstream(respond, dialect="gemini.generate", models=("gemini-*",))
    daemon = await run_daemon(upstream.config)
    found, _ = await ids_of(daemon, "/v1beta/models?key=theirs&pageSize=5")
    assert found == ["models/gemini-3", "models/echo"]
    assert upstream.seen[0].path.endswith("/v1beta/models?key=theirs&pageSize=1000")


async def test_a_list_may_be_coded_and_is_asked_for_plain(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    async def respond(request: web.Request) -> web.StreamResponse:
        packed = gzip.compress(json.dumps({"data": [{"id": "a"}]}).encode())
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    upstream = await run_upstream(respond, api_key="ours")
    daemon = await run_daemon(upstream.config)
    headers = {"If-None-Match": '"x"', "X-Own": "1", "Authorization": "Bearer theirs"}
    assert (await ids_of(daemon, **headers))[0] == ["a", "echo"]
    (seen,) = upstream.seen
    assert seen.headers["Accept-Encoding"] == "identity"
    assert (seen.headers["Authorization"], seen.headers["X-Own"]) == ("Bearer ours", "1")
    assert "If-None-Match" not in seen.headers


async def test_a_model_is_asked_for_where_its_turns_go(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    first = await run_upstream(models=("gpt-*",))
    second = await run_upstream(models=("org/*",))
    daemon = await run_daemon(first.config, second.config)
    async with daemon.http.get(f"{daemon.url}/v1/models/org/m-1?x=1") as got:
        assert (got.status, await got.json()) == (200, {"ok": True})
    assert [seen.path for seen in second.seen] == ["/v1/models/org/m-1?x=1"]
    async with daemon.http.get(f"{daemon.url}/v1/models/nobodys") as got:
        assert got.status == 404
        assert (await got.json())["error"]["code"] == "model_not_found"
    async with daemon.http.delete(f"{daemon.url}/v1/models/gpt-tuned") as got:
        assert got.status == 200
    assert [seen.path for seen in first.seen] == ["/v1/models/gpt-tuned"]


async def test_each_sdk_reads_the_list_through_its_pages(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    openai_list = lists("gpt", object="list")
    claude = await run_upstream(
        lists("claude-a", "claude-b", has_more=False), dialect="anthropic.messages"
    )

    async def gemini_list(request: web.Request) -> web.StreamResponse:
        return web.json_response({"models": [{"name": "models/g"}, {"name": "models/h"}]})

    gemini = await run_upstream(gemini_list, dialect="gemini.generate")
    daemon = await run_daemon(
        (await run_upstream(openai_list)).config, claude.config, gemini.config
    )
    async with openai.AsyncOpenAI(base_url=f"{daemon.url}/v1", api_key="k") as sdk:
        assert [model.id async for model in sdk.models.list()] == ["gpt", "echo"]
    async with anthropic.AsyncAnthropic(base_url=daemon.url, api_key="k") as claudes:
        found = [model.id async for model in claudes.models.list(limit=2)]
        assert found == ["claude-a", "claude-b", "echo"]
        back = [model.id async for model in claudes.models.list(limit=1, before_id="echo")]
        assert back == ["claude-b", "claude-a"]
    options = genai.types.HttpOptions(base_url=daemon.url)
    google = genai.Client(api_key="k", http_options=options)  # its other half warns under aiohttp

    def names() -> list[str | None]:
        with contextlib.closing(google):
            return [model.name for model in google.models.list(config={"page_size": 1})]

    assert await asyncio.to_thread(names) == ["models/g", "models/h", "models/echo"]


async def test_a_long_list_is_merged_beside_the_loop(
    run_daemon: Fixture, run_upstream: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[int] = set()
    reaches = Upstreams.reaches

    def noted(self: Upstreams, *asked: Any) -> bool:
        threads.add(threading.get_ident())
        return reaches(self, *asked)

    monkeypatch.setattr(Upstreams, "reaches", noted)
    upstream = await run_upstream(lists(*(f"model-{index}" for index in range(1000))))
    daemon = await run_daemon(upstream.config)
    ids, _ = await ids_of(daemon)
    assert len(ids) == 1001
    assert threads
    assert threading.get_ident() not in threads
