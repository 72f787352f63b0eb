"""The official SDKs of three providers, unmodified, against `coatcheck serve`: only a base URL is ours."""

import base64
import socketserver
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types

from coatcheck.client import Client
from coatcheck.protocol import Digest, Pointer

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
TEXT = base64.b64encode(PIXEL).decode()
DIGEST = Digest.of(PIXEL)
REF = f"blob:{DIGEST}"
POINTER = base64.b64encode(str(Pointer(DIGEST, len(PIXEL))).encode()).decode()
UNKNOWN = f"blob:{Digest.of(b'unknown')}"
FILE_ID = "file-cc" + "a" * 24


@pytest.fixture(scope="module")
def gateway(serve_long: Fixture) -> str:
    """A server that holds the pixel."""
    url = str(serve_long().url)
    with Client(url) as client:
        assert client.put(PIXEL).digest == DIGEST
    return url


def is_described(said: str) -> bool:
    return "PNG 1x1" in said and DIGEST in said


class TestResponses:
    """`openai`, the Responses API."""

    @pytest.fixture
    def ai(self, gateway: str) -> Iterator[openai.OpenAI]:
        with openai.OpenAI(base_url=f"{gateway}/v1", api_key="none") as ai:
            yield ai

    @staticmethod
    def ask(*parts: Any) -> Any:
        text = {"type": "input_text", "text": "What is this?"}
        return [{"role": "user", "content": [text, *parts]}]

    @staticmethod
    def image(url: str) -> Any:
        return {"type": "input_image", "image_url": url, "detail": "auto"}

    @pytest.mark.parametrize(
        "url", [REF, f"data:image/png;base64,{POINTER}", f"data:image/png;base64,{TEXT}"]
    )
    def test_a_picture_is_described(self, ai: openai.OpenAI, url: str) -> None:
        whole = ai.responses.create(model="any", input=self.ask(self.image(url)))
        assert is_described(whole.output_text)
        assert whole.usage is not None
        with ai.responses.stream(model="any", input=self.ask(self.image(url))) as stream:
            kinds = [event.type for event in stream]
            assert stream.get_final_response().output_text == whole.output_text
        assert kinds[0] == "response.created"
        assert kinds[-1] == "response.completed"

    def test_text_and_a_url_of_ours(self, ai: openai.OpenAI, gateway: str) -> None:
        assert "'Hello'" in ai.responses.create(model="any", input="Hello").output_text
        url = f"{gateway}/v1/blobs/{DIGEST}"
        assert is_described(
            ai.responses.create(model="any", input=self.ask(self.image(url))).output_text
        )

    def test_tokens_are_counted(self, ai: openai.OpenAI) -> None:
        count = ai.responses.input_tokens.count(model="any", input=self.ask(self.image(REF)))
        assert count.input_tokens > 0

    def test_what_is_missing_is_an_error_of_its_own(self, ai: openai.OpenAI) -> None:
        parts = self.image(UNKNOWN), {"type": "input_file", "file_id": FILE_ID}
        with pytest.raises(openai.NotFoundError) as caught:
            ai.responses.create(model="any", input=self.ask(*parts))
        assert caught.value.code == "blob_not_found"
        body: Any = caught.value.body
        assert body["missing"] == [
            {"digest": Digest.of(b"unknown"), "path": "input.0.content.1.image_url"},
            {"file_id": FILE_ID, "path": "input.0.content.2.file_id"},
        ]
        assert caught.value.response.headers["x-should-retry"] == "false"

    def test_what_echo_refuses_is_an_error_of_its_own(self, ai: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError) as caught:
            ai.responses.create(
                model="any", input=self.ask(self.image(f"data:image/jpeg;base64,{TEXT}"))
            )
        assert caught.value.code == "invalid_image_format"


class TestMessages:
    """`anthropic`."""

    @pytest.fixture
    def ai(self, gateway: str) -> Iterator[anthropic.Anthropic]:
        with anthropic.Anthropic(base_url=gateway, api_key="none") as ai:
            yield ai

    @staticmethod
    def ask(*blocks: Any) -> Any:
        return [{"role": "user", "content": [{"type": "text", "text": "What?"}, *blocks]}]

    @staticmethod
    def image(source: Any) -> Any:
        return {"type": "image", "source": source}

    @pytest.mark.parametrize(
        "source",
        [
            {"type": "url", "url": REF},
            {"type": "base64", "media_type": "image/png", "data": POINTER},
            {"type": "base64", "media_type": "image/png", "data": TEXT},
        ],
    )
    def test_a_picture_is_described(self, ai: anthropic.Anthropic, source: Any) -> None:
        asked = self.ask(self.image(source))
        whole = ai.messages.create(model="any", max_tokens=99, messages=asked)
        (block,) = whole.content
        assert block.type == "text"
        assert is_described(block.text)
        assert whole.stop_reason == "end_turn"
        with ai.messages.stream(model="any", max_tokens=99, messages=asked) as stream:
            assert "".join(stream.text_stream) == block.text
            assert stream.get_final_message().stop_reason == "end_turn"

    def test_one_inside_a_tools_result_is(self, ai: anthropic.Anthropic) -> None:
        result = {
            "type": "tool_result",
            "tool_use_id": "t",
            "content": [self.image({"type": "url", "url": REF})],
        }
        whole = ai.messages.create(model="any", max_tokens=99, messages=self.ask(result))
        (block,) = whole.content
        assert block.type == "text"
        assert is_described(block.text)

    def test_tokens_are_counted(self, ai: anthropic.Anthropic) -> None:
        asked = self.ask(self.image({"type": "url", "url": REF}))
        assert ai.messages.count_tokens(model="any", messages=asked).input_tokens > 0

    def test_what_is_missing_is_an_error_of_its_own(self, ai: anthropic.Anthropic) -> None:
        asked = self.ask(
            self.image({"type": "url", "url": UNKNOWN}),
            self.image({"type": "file", "file_id": FILE_ID}),
        )
        for call in (
            lambda: ai.messages.create(model="any", max_tokens=99, messages=asked),
            lambda: ai.messages.count_tokens(model="any", messages=asked),
        ):
            with pytest.raises(anthropic.NotFoundError) as caught:
                call()
            body: Any = caught.value.body
            assert body["error"]["details"] == {
                "error_code": "blob_not_found",
                "missing": [
                    {"digest": Digest.of(b"unknown"), "path": "messages.0.content.1.source"},
                    {"file_id": FILE_ID, "path": "messages.0.content.2.source"},
                ],
            }
            assert caught.value.response.headers["x-should-retry"] == "false"

    def test_what_echo_refuses_is_an_error_of_its_own(self, ai: anthropic.Anthropic) -> None:
        source = {"type": "base64", "media_type": "image/jpeg", "data": TEXT}
        with pytest.raises(anthropic.BadRequestError):
            ai.messages.create(model="any", max_tokens=99, messages=self.ask(self.image(source)))


class TestGenerate:
    """`google-genai`, under both versions of the paths."""

    @pytest.fixture(params=["v1", "v1beta"])
    def ai(self, gateway: str, request: pytest.FixtureRequest) -> Iterator[genai.Client]:
        options = genai_types.HttpOptions(base_url=gateway, api_version=request.param)
        with genai.Client(api_key="none", http_options=options) as ai:
            yield ai

    @staticmethod
    def ask(part: genai_types.Part) -> Any:
        return [genai_types.Content(role="user", parts=[genai_types.Part(text="What?"), part])]

    @pytest.mark.parametrize(
        "part",
        [
            genai_types.Part.from_uri(file_uri=REF, mime_type="image/png"),
            genai_types.Part.from_bytes(data=base64.b64decode(POINTER), mime_type="image/png"),
            genai_types.Part.from_bytes(data=PIXEL, mime_type="image/png"),
        ],
        ids=["ref", "pointer", "inline"],
    )
    def test_a_picture_is_described(self, ai: genai.Client, part: genai_types.Part) -> None:
        whole = ai.models.generate_content(model="any", contents=self.ask(part))
        assert is_described(whole.text or "")
        stream = ai.models.generate_content_stream(model="any", contents=self.ask(part))
        chunks = list(stream)
        assert "".join(chunk.text or "" for chunk in chunks) == whole.text
        assert len(chunks) > 10

    def test_tokens_are_counted(self, ai: genai.Client) -> None:
        part = genai_types.Part.from_uri(file_uri=REF, mime_type="image/png")
        count = ai.models.count_tokens(model="any", contents=self.ask(part))
        assert (count.total_tokens or 0) > 0

    @pytest.mark.parametrize("uri", [UNKNOWN, f"files/{FILE_ID}"])
    def test_what_is_missing_is_an_error_of_its_own(self, ai: genai.Client, uri: str) -> None:
        part = genai_types.Part.from_uri(file_uri=uri, mime_type="image/png")
        for call in (
            lambda: ai.models.generate_content(model="any", contents=self.ask(part)),
            lambda: ai.models.count_tokens(model="any", contents=self.ask(part)),
            lambda: list(ai.models.generate_content_stream(model="any", contents=self.ask(part))),
        ):
            with pytest.raises(genai_errors.ClientError) as caught:
                call()
            assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")
            answer = cast("dict[str, Any]", caught.value.details)  # pyright: ignore[reportUnknownMemberType]
            (detail,) = answer["error"]["details"]
            assert detail["code"] == "blob_not_found"
            assert detail["missing"][0]["path"] == "contents.0.parts.1.fileData"

    def test_what_echo_refuses_is_an_error_of_its_own(self, ai: genai.Client) -> None:
        part = genai_types.Part.from_bytes(data=PIXEL, mime_type="image/jpeg")
        with pytest.raises(genai_errors.ClientError) as caught:
            ai.models.generate_content(model="any", contents=self.ask(part))
        assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")


BROKEN = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SETTINGS = """
[[upstream]]
name = "openai"
dialect = "openai.responses"
base_url = "{url}/v1"

[[upstream]]
name = "anthropic"
dialect = "anthropic.messages"
base_url = "{url}"

[[upstream]]
name = "gemini"
dialect = "gemini.generate"
base_url = "{url}"
"""


@pytest.fixture
def broken() -> Iterator[str]:
    """An upstream that breaks off each answer before the first event."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(BROKEN)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_stream_that_breaks_is_an_error_in_every_sdk(serve: Fixture, broken: str) -> None:
    url = serve(SETTINGS.format(url=broken)).url
    asked = [genai_types.Content(role="user", parts=[genai_types.Part(text="What?")])]
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as responses:
        stream = responses.responses.create(model="m", input="x", stream=True)
        with pytest.raises(openai.APIError, match="broke off") as failed:
            list(stream)
        assert failed.value.code == "upstream_cut"
    with anthropic.Anthropic(base_url=url, api_key="k", max_retries=0) as messages:
        events = messages.messages.create(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "x"}], stream=True
        )
        with pytest.raises(anthropic.APIStatusError, match="broke off"):
            list(events)
    options = genai_types.HttpOptions(base_url=url)
    with genai.Client(api_key="k", http_options=options) as generate:
        chunks = generate.models.generate_content_stream(model="m", contents=asked)
        with pytest.raises(genai_errors.APIError, match="broke off"):
            list(chunks)
