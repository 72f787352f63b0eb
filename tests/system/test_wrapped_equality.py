"""What an upstream gets from a wrapped SDK is what it gets from the SDK itself, as JSON."""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import anthropic
import httpx
import httpx2
import openai
import pytest
from google import genai
from google.genai import types
from tests.conftest import Recorder
from tests.daemon.equality_corpus import ROWS, Row, Spell, blobs
from tests.daemon.test_equality import same

from coatcheck.client import http_client, wrap

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

SETTINGS = """
[[upstream]]
name = "chat"
dialect = "openai.chat"
base_url = "{url}/v1"

[[upstream]]
name = "responses"
dialect = "openai.responses"
base_url = "{url}/v1"

[[upstream]]
name = "messages"
dialect = "anthropic.messages"
base_url = "{url}"

[[upstream]]
name = "generate"
dialect = "gemini.generate"
base_url = "{url}"
"""
JSON = {"Content-Type": "application/json"}


class Site(NamedTuple):
    """A server, and the upstream of all its dialects, which tells what it was sent."""

    url: str
    upstream: Recorder

    def taken(self) -> bytes:
        """Return the one body that came since the last time."""
        (seen,) = self.upstream.seen
        self.upstream.seen.clear()
        return seen.body


@pytest.fixture(scope="module")
def site(serve_long: Fixture, run_recorder: Fixture) -> Site:
    upstream: Recorder = run_recorder()
    return Site(serve_long(SETTINGS.format(url=upstream.url)).url, upstream)


@pytest.fixture(scope="module")
def wrapped(site: Site) -> Iterator[dict[str, Callable[[str, Any], object]]]:
    """How a body is sent to a path, for each of the SDKs that take one as it is."""
    with (
        openai.OpenAI(base_url=f"{site.url}/v1", api_key="k") as plain,
        anthropic.Anthropic(base_url=site.url, api_key="k") as other,
    ):
        chat, messages = wrap(plain), wrap(other)
        yield {
            "openai": lambda path, body: chat.post(
                path.removeprefix("/v1"), body=body, cast_to=object
            ),
            "anthropic": lambda path, body: messages.post(path, body=body, cast_to=object),
        }


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.dialect.partition(".")[0] in ("openai", "anthropic")],
    ids=lambda row: f"{row.path}: {row.about}",
)
def test_a_wrapped_sdk_means_the_same(
    site: Site, wrapped: dict[str, Callable[[str, Any], object]], row: Row
) -> None:
    body = row.body(Spell("inline", site.url))
    before = json.dumps(body)
    for _ in range(2):  # the second names the first as its prompt, or what came before in it
        wrapped[row.dialect.partition(".")[0]](row.path, body)
        assert same(site.taken(), before.encode())
    assert json.dumps(body) == before


@pytest.fixture(scope="module")
def transports(site: Site) -> Iterator[list[httpx2.Client | httpx.Client]]:
    """A client of each library."""
    with (
        http_client(site.url, library="httpx2") as two,
        http_client(site.url, library="httpx") as one,
    ):
        yield [two, one]


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.dialect != "dify.llm"],  # Dify's API takes no transport of ours
    ids=lambda row: f"{row.path}: {row.about}",
)
def test_so_does_one_with_a_transport(
    site: Site, transports: list[httpx2.Client | httpx.Client], row: Row
) -> None:
    body = json.dumps(row.body(Spell("inline", site.url))).encode()
    for transport in transports:
        url = f"https://provider.example{row.path}"
        assert transport.post(url, content=body, headers=JSON).status_code == 200
        assert same(site.taken(), body)


def _contents(turns: int) -> list[types.Content]:
    def part(name: str) -> types.Part:
        data, media_type = blobs()[name]
        return types.Part.from_bytes(data=data, mime_type=media_type)

    given = [part(name) for name in ("large", "liar", "pdf", "png", "wav")]
    result = types.FunctionResponse(name="f", response={"shot": "below"})
    talk = [
        types.Content(role="user", parts=[types.Part(text="Größe?"), *given]),
        types.Content(role="model", parts=[types.Part.from_function_call(name="f", args={})]),
        types.Content(role="user", parts=[types.Part(function_response=result), part("large")]),
    ]
    return talk[:turns]


@pytest.mark.parametrize("is_streamed", [False, True])
def test_googles_sdk_means_the_same_with_its_own_types(site: Site, is_streamed: bool) -> None:
    config = types.GenerateContentConfig(
        temperature=0.5,
        system_instruction=["Be brief.", types.Part.from_bytes(data=b"\0" * 5000, mime_type="a/b")],
    )

    def ask(ai: genai.Client, contents: Any) -> bytes:
        arguments: Any = {"model": "m", "contents": contents, "config": config}
        if is_streamed:
            list(ai.models.generate_content_stream(**arguments))
        else:
            ai.models.generate_content(**arguments)
        return site.taken()

    plain = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=site.upstream.url))
    ours = wrap(genai.Client(api_key="k", http_options=types.HttpOptions(base_url=site.url)))
    for turns in (1, 2, 3):
        contents = _contents(turns)
        before = [content.model_dump_json() for content in contents]
        assert same(ask(ours, contents), ask(plain, contents))
        assert [content.model_dump_json() for content in contents] == before
    picture = types.Part.from_bytes(data=blobs()["large"][0], mime_type="image/bmp")
    for loose in ("Hello", ["Look:", picture], picture, [picture, ["and", picture]]):
        assert same(ask(ours, loose), ask(plain, loose))
