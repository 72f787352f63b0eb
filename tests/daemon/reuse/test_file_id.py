"""Files at a provider in place of bytes: uploaded once, found again, made again when they are gone."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web as aioweb

from coatcheck.daemon import UpstreamConfig
from coatcheck.daemon.forward import HttpUpstream
from coatcheck.daemon.reuse.files_gemini import GeminiFiles
from coatcheck.daemon.reuse.line import Line
from coatcheck.daemon.reuse.owner import settled_owner
from coatcheck.daemon.reuse.uploads import FAILED_SECONDS, MARGIN_SECONDS
from coatcheck.protocol import PIECE_BYTES, Digest, JsonObject

from ..remote import Clock
from .provider import Provider
from .rig import image, offered, rigged, served

DIALECTS = ("openai.responses", "anthropic.messages", "gemini.generate")
every_dialect = pytest.mark.parametrize("dialect", DIALECTS)
FIRST, SECOND = "key-of-the-first", "key-of-the-second"
RED, BLUE, GREEN = image(1), image(2), image(3)
TWO_DAYS = 172_800


@pytest.fixture
def clock() -> Clock:
    return Clock(1_800_000_000.0)


@pytest.fixture
def provider(clock: Clock) -> Provider:
    return Provider(clock)


@pytest.fixture
async def origin(provider: Provider) -> AsyncIterator[str]:
    async with served(provider.app()) as origin:
        yield origin


@every_dialect
async def test_a_blob_is_uploaded_once(
    dialect: str, provider: Provider, origin: str, clock: Clock
) -> None:
    async with rigged(origin, dialect, "file-id", clock=clock) as rig:
        red, blue = await rig.put(RED), await rig.put(BLUE)
        for _ in range(3):
            assert await rig.see(rig.ref(RED), rig.ref(BLUE), rig.ref(RED)) == [red, blue, red]
        assert provider.uploads() == {red: 1, blue: 1}
        assert not provider.inline()
        assert rig.counts.outcomes == {"uploaded": 2, "found": 4}
        assert rig.counts.spared == 2 * (len(RED) + len(BLUE))


@every_dialect
async def test_bytes_that_come_inline_are_named_too(
    dialect: str, provider: Provider, origin: str, clock: Clock
) -> None:
    async with rigged(origin, dialect, "file-id", clock=clock) as rig:
        red = await rig.put(RED)
        assert await rig.see(rig.sample.inline(RED), rig.sample.inline(BLUE)) == [
            red,
            blue := Digest.of(BLUE),
        ]
        assert await rig.see(rig.ref(RED), rig.sample.inline(BLUE)) == [red, blue]
        assert provider.uploads() == {red: 1, blue: 1}
        assert not provider.inline()


@every_dialect
async def test_turns_at_the_same_time_share_one_upload(
    dialect: str, provider: Provider, origin: str, clock: Clock
) -> None:
    async with rigged(origin, dialect, "file-id", clock=clock) as rig:
        red = await rig.put(RED)
        seen = await asyncio.gather(*(rig.see(rig.ref(RED)) for _ in range(20)))
        assert seen == [[red]] * 20
        assert provider.uploads() == {red: 1}


@every_dialect
async def test_a_restart_uploads_nothing_again(
    dialect: str, provider: Provider, origin: str, clock: Clock, tmp_path: Path
) -> None:
    for _ in range(2):
        async with rigged(origin, dialect, "file-id", clock=clock, folder=tmp_path) as rig:
            red = await rig.put(RED)
            assert await rig.see(rig.ref(RED)) == [red]
    assert provider.uploads() == {Digest.of(RED): 1}
    assert b"provider-key" not in (tmp_path / "reuse.sqlite").read_bytes()


@every_dialect
async def test_a_file_is_uploaded_again_before_it_expires(
    dialect: str, provider: Provider, origin: str, clock: Clock
) -> None:
    async with rigged(origin, dialect, "file-id", clock=clock) as rig:
        red = await rig.put(RED)
        assert await rig.see(rig.ref(RED)) == [red]
        clock.now += TWO_DAYS - MARGIN_SECONDS - 1
        await rig.put(RED)
        assert await rig.see(rig.ref(RED)) == [red]
        assert provider.uploads() == {red: 1}
        clock.now += 1
        assert await rig.see(rig.ref(RED)) == [red]
        assert provider.uploads() == {red: 2}
        assert not rig.counts.outcomes["recovered"]


@every_dialect
@pytest.mark.parametrize("is_expired", [True, False])
async def test_a_file_that_is_gone_is_made_again_within_the_turn(
    dialect: str, is_expired: bool, provider: Provider, origin: str, clock: Clock
) -> None:
    async with rigged(origin, dialect, "file-id", clock=clock) as rig:
        red, blue, green = [await rig.put(data) for data in (RED, BLUE, GREEN)]
        refs = [rig.ref(data) for data in (RED, BLUE, GREEN)]
        assert await rig.see(*refs) == [red, blue, green]
        for file in provider.files.values():
            if file.data != BLUE and is_expired:
                file.expires_at = clock.now - 1
        if not is_expired:
            provider.drop(RED)
            provider.drop(GREEN)
        turns = len(provider.bodies)
        assert await rig.see(*refs) == [red, blue, green]
        assert provider.uploads() == {red: 2, blue: 1, green: 2}
        assert len(provider.bodies) == turns + 2  # the refused one, and the one that was answered
        assert not provider.inline()
        assert rig.counts.outcomes["recovered"] == 1


@every_dialect
async def test_a_file_of_inline_bytes_that_is_gone_is_made_again(
    dialect: str, provider: Provider, origin: str, clock: Clock
) -> None:
    async with rigged(origin, dialect, "file-id", clock=clock) as rig:
        inline, red = rig.sample.inline(RED), Digest.of(RED)
        assert await rig.see(inline) == [red]
        provider.drop(RED)
        assert await rig.see(inline) == [red]
        assert (provider.uploads(), provider.inline()) == ({red: 2}, {})


async def test_a_file_that_is_made_again_keeps_its_name(
    provider: Provider, origin: str, clock: Clock
) -> None:
    async with rigged(origin, "openai.responses", "file-id", clock=clock) as rig:
        pdf = b"%PDF-1.4\n" + b"x" * 100
        ref = f"blob:{await rig.put(pdf)}"
        named: JsonObject = {"type": "input_file", "filename": "a.pdf", "file_data": ref}
        await rig.see(named)
        provider.drop(pdf)
        await rig.see(named)
        assert [file.filename for file in provider.files.values()] == ["a.pdf"]


@every_dialect
async def test_turns_that_find_a_file_gone_at_the_same_time_upload_it_once(
    dialect: str, provider: Provider, origin: str, clock: Clock
) -> None:
    async with rigged(origin, dialect, "file-id", clock=clock) as rig:
        red = await rig.put(RED)
        await rig.see(rig.ref(RED))
        provider.drop(RED)
        seen = await asyncio.gather(*(rig.see(rig.ref(RED)) for _ in range(20)))
        assert seen == [[red]] * 20
        assert provider.uploads() == {red: 2}


@every_dialect
async def test_what_is_refused_again_goes_inline(
    dialect: str, provider: Provider, origin: str, clock: Clock
) -> None:
    """A provider that takes files and then knows nothing of them is not asked for ever."""
    async with rigged(origin, dialect, "file-id", clock=clock) as rig:
        red = await rig.put(RED)

        async def lose(request: aioweb.Request) -> aioweb.StreamResponse | None:
            if "files" not in request.path:
                provider.files.clear()
            return None

        provider.before = lose
        assert await rig.see(rig.ref(RED)) == [red]
        assert (provider.uploads(), provider.inline()) == ({red: 2}, {red: 1})
        assert len(provider.bodies) == 3
        assert await rig.see(rig.ref(RED)) == [red]
        assert (provider.uploads(), provider.inline()) == ({red: 2}, {red: 2})


@pytest.mark.parametrize(
    ("dialect", "status"),
    [
        *((DIALECTS[0], status) for status in (400, 401, 404, 413, 415, 429, 500, 503)),
        *((dialect, status) for dialect in DIALECTS[1:] for status in (400, 429)),
    ],
)
async def test_what_cannot_be_uploaded_goes_inline(
    dialect: str, status: int, provider: Provider, origin: str, clock: Clock
) -> None:
    async with rigged(origin, dialect, "file-id", clock=clock) as rig:
        red, blue = await rig.put(RED), await rig.put(BLUE)

        async def refuse(request: aioweb.Request) -> aioweb.StreamResponse | None:
            if "files" not in request.path:
                return None
            return aioweb.json_response({"error": {"message": "no"}}, status=status)

        provider.before = refuse
        assert await rig.see(rig.ref(RED)) == [red]
        assert provider.inline() == {red: 1}
        provider.before = None
        asked = len(provider.paths)
        assert await rig.see(rig.ref(RED)) == [red]  # as before: the prompt is cached by its bytes
        assert len(provider.paths) == asked + 1
        clock.now += 3600 if status in (400, 413, 415) else FAILED_SECONDS
        assert await rig.see(rig.ref(RED), rig.ref(BLUE)) == [red, blue]
        assert provider.uploads() == {red: 1, blue: 1}


@every_dialect
async def test_an_upload_that_is_cut_goes_inline(
    dialect: str, provider: Provider, origin: str, clock: Clock
) -> None:
    async with rigged(origin, dialect, "file-id", clock=clock) as rig:
        red = await rig.put(RED)

        async def cut(request: aioweb.Request) -> aioweb.StreamResponse | None:
            if "files" in request.path:
                assert request.transport is not None
                request.transport.abort()
            return None

        provider.before = cut
        assert await rig.see(rig.ref(RED)) == [red]
        assert provider.inline() == {red: 1}


@pytest.mark.parametrize("dialect", [DIALECTS[0], DIALECTS[2]])
async def test_a_large_blob_is_streamed_from_its_pieces(
    dialect: str, provider: Provider, origin: str, clock: Clock
) -> None:
    async with rigged(origin, dialect, "file-id", clock=clock) as rig:
        large = image(9, 2 * PIECE_BYTES + 1)
        await rig.put(large)
        assert await rig.see(rig.ref(large)) == [Digest.of(large)]
        assert provider.uploads() == {Digest.of(large): 1}


@every_dialect
async def test_tenants_share_no_file(
    dialect: str, provider: Provider, origin: str, clock: Clock
) -> None:
    async with rigged(origin, dialect, "file-id", clock=clock) as rig:
        for tenant in "ab":
            await rig.put(RED, tenant)
            assert await rig.see(rig.ref(RED), tenant=tenant) == [Digest.of(RED)]
        assert provider.uploads() == {Digest.of(RED): 2}
        assert len(set(provider.files)) == 2
        assert all(b"cck_" not in body for body in provider.bodies)


@every_dialect
async def test_each_key_has_its_own_files(
    dialect: str, provider: Provider, origin: str, clock: Clock, tmp_path: Path
) -> None:
    for key in (FIRST, SECOND, FIRST):
        async with rigged(
            origin,
            dialect,
            "file-id",
            clock=clock,
            folder=tmp_path,
            api_key=None,
            client_key=key,
        ) as rig:
            red = await rig.put(RED)
            assert await rig.see(rig.ref(RED)) == [red]
    assert provider.uploads() == {Digest.of(RED): 2}
    assert {file.owner for file in provider.files.values()} == {FIRST, SECOND}
    assert FIRST.encode() not in (tmp_path / "reuse.sqlite").read_bytes()


@every_dialect
async def test_what_a_tenant_holds_no_more_is_removed(
    dialect: str, provider: Provider, origin: str, clock: Clock
) -> None:
    async with rigged(origin, dialect, "file-id", clock=clock) as rig:
        red, blue = await rig.put(RED), await rig.put(BLUE)
        await rig.see(rig.ref(RED), rig.ref(BLUE))
        clock.now += 61
        await rig.sweep()
        assert not provider.removed
        await rig.delete(red)
        await rig.sweep()
        (left,) = provider.files.values()
        assert left.data == BLUE
        assert len(provider.removed) == 1
        assert await rig.see(rig.ref(BLUE)) == [blue]
        assert provider.uploads()[blue] == 1


async def test_a_beta_is_asked_for_where_the_version_has_one(
    provider: Provider, origin: str, clock: Clock
) -> None:
    seen: list[str | None] = []

    async def note(request: aioweb.Request) -> aioweb.StreamResponse | None:
        seen.append(request.headers.get("anthropic-beta"))
        return None

    provider.before = note
    async with rigged(origin, "anthropic.messages", "file-id", clock=clock) as rig:
        red = await rig.put(RED)
        beta = "files-api-2025-04-14"
        assert await rig.see(rig.ref(RED), **{"anthropic-beta": "other-1"}) == [red]
        assert seen == [beta, f"other-1,{beta}"]
        assert await rig.see(rig.ref(RED), **{"anthropic-beta": f"{beta}, other-2"}) == [red]
        assert seen[2] == f"{beta}, other-2"
        headers = {"anthropic-version": "2026-10-21"}
        assert await rig.see(rig.ref(RED), **headers) == [red]
        assert seen[3] is None


async def test_a_film_that_is_not_active_yet_is_waited_for(
    provider: Provider, origin: str, clock: Clock
) -> None:
    provider.first_state = "PROCESSING"
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async with AsyncExitStack() as stack:
        upstream = HttpUpstream.open(UpstreamConfig("up", "gemini.generate", origin, api_key="k"))
        stack.push_async_callback(upstream.close)
        owner = settled_owner(b"secret", upstream)
        assert owner is not None
        api = GeminiFiles(sleep)
        file = await api.upload(Line(owner), offered(RED), 3600, "boundary")
        assert slept == [1.0, 1.0]
        assert file.name.startswith("files/g")
        assert file.expires_at == clock.now + 48 * 3600
        assert await api.has(Line(owner), file.name)
        await api.remove(Line(owner), file.name)
        await api.remove(Line(owner), file.name)
        assert not await api.has(Line(owner), file.name)


async def test_a_refusal_that_has_nothing_to_do_with_files_is_the_clients(
    provider: Provider, origin: str, clock: Clock
) -> None:
    refusal = {"error": {"message": "temperature is too high", "type": "invalid_request_error"}}

    async def refuse(request: aioweb.Request) -> aioweb.StreamResponse | None:
        if "files" in request.path:
            return None
        return aioweb.json_response(refusal, status=400, headers={"x-request-id": "r1"})

    provider.before = refuse
    async with rigged(origin, "openai.responses", "file-id", clock=clock) as rig:
        await rig.put(RED)
        message = rig.sample.message([rig.ref(RED)])
        assert await rig.post([message]) == (400, refusal)
        assert provider.paths.count("POST /v1/responses") == 1


async def test_a_file_has_the_name_that_the_message_gives_it(
    provider: Provider, origin: str, clock: Clock
) -> None:
    async with rigged(origin, "openai.responses", "file-id", clock=clock) as rig:
        pdf = b"%PDF-1.4\n" + b"x" * 100
        digest = await rig.put(pdf)
        ref = f"blob:{digest}"
        named: JsonObject = {"type": "input_file", "filename": "a b.pdf", "file_data": ref}
        assert await rig.see(named, named) == [digest, digest]
        assert await rig.see({"type": "input_file", "file_data": ref}) == [digest]
        files = [(file.filename, file.purpose, file.media_type) for file in provider.files.values()]
        kind = "application/pdf"
        assert files == [("a b.pdf", "user_data", kind), ("file.pdf", "user_data", kind)]


async def test_the_wire_is_what_the_sdk_writes(
    provider: Provider, origin: str, clock: Clock
) -> None:
    async with rigged(origin, "openai.responses", "file-id", clock=clock) as rig:
        await rig.put(RED)
        await rig.see(rig.ref(RED))
        (file_id,) = provider.files
        part = json.loads(provider.bodies[0])["input"][0]["content"][1]
        assert part == {"type": "input_image", "file_id": file_id, "detail": "auto"}
