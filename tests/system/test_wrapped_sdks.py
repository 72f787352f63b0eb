"""Official SDKs, wrapped: what they answer is what they answer plain, and what they send is what is new."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import openai
import pydantic
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types
from tests.conftest import Recorder

from coatcheck.client import InvalidArgumentError, async_http_client, http_client, wrap
from coatcheck.protocol import Digest

from .wrapped import Seen, picture, text_of

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
UNKNOWN = f"blob:{Digest.of(b'unknown')}"


@pytest.fixture(scope="module")
def url(serve_long: Fixture) -> str:
    return str(serve_long().url)


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def in_front(run_recorder: Fixture) -> Recorder:
    """What answers in Coatcheck's place."""
    in_front: Recorder = run_recorder()
    return in_front


@pytest.fixture
def chat(url: str, seen: Seen) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", http_client=seen.client()) as ai:
        yield wrap(ai)


@pytest.fixture
def plain(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k") as ai:
        yield ai


def image(number: int) -> Any:
    url = f"data:image/png;base64,{text_of(picture(number))}"
    return {"type": "image_url", "image_url": {"url": url}}


def asked(*parts: Any) -> Any:
    return [{"role": "user", "content": [{"type": "text", "text": "What?"}, *parts]}]


def said(completion: Any) -> str:
    return str(completion.choices[0].message.content)


def told(content: Any) -> str:
    (block,) = content
    return str(block.text)


class TestChat:
    """`openai`, Chat Completions."""

    def test_a_conversation_sends_each_image_once_and_no_message_twice(
        self, chat: openai.OpenAI, plain: openai.OpenAI, seen: Seen
    ) -> None:
        messages: Any = []
        for turn in range(4):
            messages += asked(image(turn))
            answer = chat.chat.completions.create(model="m", messages=messages)
            assert said(answer) == said(plain.chat.completions.create(model="m", messages=messages))
            messages.append(answer.choices[0].message)
        assert seen.uploads == [Digest.of(picture(turn)) for turn in range(4)]
        bodies = seen.turns(CHAT)
        assert [body["coatcheck"]["parent"] is None for body in bodies] == [True, *[False] * 3]
        assert all(len(body["coatcheck"]["append"]) <= 2 for body in bodies)
        assert seen.largest < 2000

    def test_every_way_to_ask(self, chat: openai.OpenAI, plain: openai.OpenAI, seen: Seen) -> None:
        messages = asked(image(10))
        expected = said(chat.chat.completions.create(model="m", messages=messages))
        assert said(plain.chat.completions.create(model="m", messages=messages)) == expected
        raw = chat.chat.completions.with_raw_response.create(model="m", messages=messages)
        assert said(raw.parse()) == expected
        with chat.chat.completions.with_streaming_response.create(
            model="m", messages=messages
        ) as streaming:
            assert json.loads(b"".join(streaming.iter_bytes()))["choices"]
        chunks = list(chat.chat.completions.create(model="m", messages=messages, stream=True))
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == expected
        with chat.chat.completions.stream(model="m", messages=messages) as stream:
            assert said(stream.get_final_completion()) == expected
        assert (
            said(chat.with_options(timeout=9).chat.completions.create(model="m", messages=messages))
            == expected
        )
        assert (
            said(chat.copy(max_retries=0).chat.completions.create(model="m", messages=messages))
            == expected
        )
        assert len(seen.uploads) == 1
        assert len(seen.turns(CHAT)) == 7

    def test_a_stream_is_the_bytes_of_a_plain_one(
        self, chat: openai.OpenAI, plain: openai.OpenAI
    ) -> None:
        def read(ai: openai.OpenAI) -> bytes:
            create = ai.chat.completions.with_streaming_response.create
            with create(model="m", messages=asked(image(11)), stream=True) as response:
                return b"".join(response.iter_bytes())

        def rest(stream: bytes) -> list[Any]:
            events = [json.loads(line[6:]) for line in stream.split(b"\n\n") if b"{" in line]
            return [{**event, "id": "", "created": 0} for event in events]

        ours, theirs = read(chat), read(plain)
        assert rest(ours) == rest(theirs)
        assert b"coatcheck" not in ours

    def test_what_only_the_sdk_knows_how_to_write(self, chat: openai.OpenAI, seen: Seen) -> None:
        class Weather(pydantic.BaseModel):
            place: str

        messages = asked(image(12))
        chat.chat.completions.create(
            model="m", messages=messages, extra_body={"x": Weather(place="here")}
        )
        assert seen.turns(CHAT)[-1]["x"] == {"place": "here"}
        tool = openai.pydantic_function_tool(Weather)
        chat.chat.completions.create(
            model="m", messages=messages, tools=[tool], extra_headers={"X-One": "1"}
        )
        assert "coatcheck" in seen.turns(CHAT)[-1]

    def test_errors_are_the_sdks(self, chat: openai.OpenAI) -> None:
        unknown: Any = {"type": "image_url", "image_url": {"url": UNKNOWN}}
        with pytest.raises(openai.NotFoundError) as caught:
            chat.chat.completions.create(model="m", messages=asked(unknown, image(13)))
        assert caught.value.code == "blob_not_found"
        malformed: Any = [{"role": "user", "content": [{"type": "image_url", "image_url": 5}]}]
        with pytest.raises(openai.BadRequestError, match="image_url"):
            chat.chat.completions.create(model="m", messages=malformed)

    def test_what_is_no_turn_passes(self, chat: openai.OpenAI, seen: Seen) -> None:
        file = chat.files.create(file=("a.png", picture(14)), purpose="user_data")
        assert chat.files.content(file.id).read() == picture(14)
        assert chat.models.list().data
        part: Any = {"type": "file", "file": {"file_id": file.id}}
        answer = chat.chat.completions.create(model="m", messages=asked(part))
        assert Digest.of(picture(14)) in said(answer)
        assert all("/v1/blobs/" not in path for _, path, _ in seen.requests)

    def test_responses_too(self, chat: openai.OpenAI, plain: openai.OpenAI, seen: Seen) -> None:
        url = f"data:image/png;base64,{text_of(picture(15))}"
        ask: Any = [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]
        expected = chat.responses.create(model="m", input=ask).output_text
        assert plain.responses.create(model="m", input=ask).output_text == expected
        with chat.responses.stream(model="m", input=ask) as stream:
            assert stream.get_final_response().output_text == expected
        assert chat.responses.input_tokens.count(model="m", input=ask).input_tokens > 0
        assert len(seen.uploads) == 1
        assert all("coatcheck" in body for body in seen.turns(RESPONSES))

    def test_one_wrapped_client_serves_many_threads(self, chat: openai.OpenAI, seen: Seen) -> None:
        begin = threading.Barrier(8)

        def talk(number: int) -> None:
            messages: Any = []
            begin.wait(20)
            for turn in range(3):
                messages += asked(image(16), image(100 + number))
                answer = chat.chat.completions.create(model="m", messages=messages)
                assert f"{2 * turn + 2}" in said(answer)
                assert Digest.of(picture(100 + number)) in said(answer)
                messages.append({"role": "assistant", "content": said(answer)})

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(talk, range(8)))
        assert len(seen.uploads) == 9

    async def test_asynchronous_ones_too(self, url: str, seen: Seen) -> None:
        async with openai.AsyncOpenAI(
            base_url=f"{url}/v1", api_key="k", http_client=seen.async_client()
        ) as ai:
            ours = wrap(ai)
            messages = asked(image(17))
            answers = await asyncio.gather(
                *(ours.chat.completions.create(model="m", messages=messages) for _ in range(10))
            )
            expected = said(answers[0])
            assert "PNG" in expected
            assert all(said(answer) == expected for answer in answers)
            stream = await ours.chat.completions.create(model="m", messages=messages, stream=True)
            chunks = [chunk async for chunk in stream]
            told = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
            assert told == expected
            raw = await ours.with_options(timeout=9).chat.completions.with_raw_response.create(
                model="m", messages=messages
            )
            assert said(raw.parse()) == expected
            await ours.files.create(file=("a.png", picture(18)), purpose="user_data")
            assert len(seen.uploads) == 1


class TestMessages:
    """`anthropic`."""

    @staticmethod
    def ask(number: int) -> Any:
        data = text_of(picture(number))
        source = {"type": "base64", "media_type": "image/png", "data": data}
        return asked({"type": "image", "source": source})

    def test_every_way_to_ask(self, url: str, seen: Seen) -> None:
        ask = self.ask(20)
        with anthropic.Anthropic(base_url=url, api_key="k", http_client=seen.client()) as ai:
            ours = wrap(ai)
            expected = ours.messages.create(model="m", max_tokens=99, messages=ask).content
            with anthropic.Anthropic(base_url=url, api_key="k") as plain:
                assert (
                    plain.messages.create(model="m", max_tokens=99, messages=ask).content
                    == expected
                )
            with ours.messages.stream(model="m", max_tokens=99, messages=ask) as stream:
                assert stream.get_final_text() == told(expected)
            assert (
                ours.messages.with_raw_response.create(model="m", max_tokens=99, messages=ask)
                .parse()
                .content
                == expected
            )
            assert ours.messages.count_tokens(model="m", messages=ask).input_tokens > 0
            again: Any = [*ask, {"role": "assistant", "content": expected}, *self.ask(21)]
            whole = ours.messages.create(model="m", max_tokens=99, messages=again)
            assert "3 messages" in told(whole.content)
        assert seen.uploads == [Digest.of(picture(20)), Digest.of(picture(21))]
        bodies = seen.turns(MESSAGES)
        assert len(bodies[-1]["coatcheck"]["append"]) <= 2
        assert seen.largest < 3000

    async def test_asynchronous_ones_too(self, url: str, seen: Seen) -> None:
        async with anthropic.AsyncAnthropic(
            base_url=url, api_key="k", http_client=seen.async_client()
        ) as ai:
            ours = wrap(ai)
            whole = await ours.messages.create(model="m", max_tokens=99, messages=self.ask(22))
            async with ours.messages.stream(
                model="m", max_tokens=99, messages=self.ask(22)
            ) as stream:
                assert await stream.get_final_text() == told(whole.content)
            unknown: Any = {"type": "image", "source": {"type": "url", "url": UNKNOWN}}
            with pytest.raises(anthropic.NotFoundError):
                await ours.messages.create(model="m", max_tokens=9, messages=asked(unknown))
        assert seen.uploads == [Digest.of(picture(22))]


class TestGenerate:
    """`google-genai`."""

    @staticmethod
    def part(number: int) -> types.Part:
        return types.Part.from_bytes(data=picture(number), mime_type="image/png")

    @pytest.fixture
    def ai(self, url: str, seen: Seen) -> Iterator[genai.Client]:
        with seen.client() as sender:
            options = types.HttpOptions(base_url=url, httpx_client=sender)
            yield wrap(genai.Client(api_key="k", http_options=options))

    def test_every_way_to_ask(self, ai: genai.Client, url: str, seen: Seen) -> None:
        with genai.Client(api_key="k", http_options=types.HttpOptions(base_url=url)) as plain:
            ask: Any = ["What?", self.part(30)]
            expected = ai.models.generate_content(model="m", contents=ask).text
            assert plain.models.generate_content(model="m", contents=ask).text == expected
            chunks = ai.models.generate_content_stream(model="m", contents=ask)
            assert "".join(chunk.text or "" for chunk in chunks) == expected
            assert (ai.models.count_tokens(model="m", contents=ask).total_tokens or 0) > 0
            ours: Any = ai.chats.create(model="m")
            theirs: Any = plain.chats.create(model="m")
            for turn in range(3):
                message: Any = ["What?", self.part(30 + turn)]
                assert ours.send_message(message).text == theirs.send_message(message).text
            history: list[types.Content] = ours.get_history()
            parts = [part for content in history for part in content.parts or []]
            held = [part.inline_data.data for part in parts if part.inline_data]
            assert held == [picture(30 + turn) for turn in range(3)]
        assert seen.uploads == [Digest.of(picture(30 + turn)) for turn in range(3)]
        assert seen.largest < 3000

    async def test_asynchronous_ones_too(self, url: str, seen: Seen) -> None:
        ask: Any = ["What?", self.part(35)]
        async with seen.async_client() as sender:
            options = types.HttpOptions(base_url=url, httpx_async_client=sender)
            ours = wrap(genai.Client(api_key="k", http_options=options)).aio
            whole = await ours.models.generate_content(model="m", contents=ask)
            stream = await ours.models.generate_content_stream(model="m", contents=ask)
            assert "".join([chunk.text or "" async for chunk in stream]) == whole.text
            assert ((await ours.models.count_tokens(model="m", contents=ask)).total_tokens or 0) > 0
        assert seen.uploads == [Digest.of(picture(35))]

    def test_errors_are_the_sdks(self, ai: genai.Client) -> None:
        ask: Any = [types.Part.from_uri(file_uri=UNKNOWN, mime_type="a/b"), self.part(36)]
        with pytest.raises(genai_errors.ClientError) as caught:
            ai.models.generate_content(model="m", contents=ask)
        assert caught.value.code == 404

    def test_files_pass(self, ai: genai.Client, tmp_path: Any) -> None:
        (tmp_path / "a.png").write_bytes(picture(37))
        file = ai.files.upload(file=tmp_path / "a.png")
        whole = ai.models.generate_content(model="m", contents=file)
        assert Digest.of(picture(37)) in (whole.text or "")


class TestTransports:
    """`http_client` and `async_http_client`."""

    async def test_each_sdk_takes_one(self, url: str) -> None:
        with http_client(url) as sender:
            chat = openai.OpenAI(api_key="k", http_client=sender)
            answer = chat.chat.completions.create(model="m", messages=asked(image(40)))
            assert Digest.of(picture(40)) in said(answer)
            messages = anthropic.Anthropic(api_key="k", http_client=sender)
            whole = messages.messages.create(
                model="m", max_tokens=99, messages=TestMessages.ask(41)
            )
            assert Digest.of(picture(41)) in told(whole.content)
            assert chat.models.list().data
            async with async_http_client(url) as async_sender:
                options = types.HttpOptions(httpx_client=sender, httpx_async_client=async_sender)
                generate = genai.Client(api_key="k", http_options=options)
                for made in (
                    generate.models.generate_content(model="m", contents=TestGenerate.part(42)),
                    await generate.aio.models.generate_content(
                        model="m", contents=TestGenerate.part(42)
                    ),
                ):
                    assert Digest.of(picture(42)) in (made.text or "")

    def test_an_answer_is_its_servers(self, url: str, plain: openai.OpenAI) -> None:
        with http_client(url) as sender:
            ours = openai.OpenAI(api_key="k", http_client=sender)
            messages = asked(image(43))
            one = ours.chat.completions.with_raw_response.create(model="m", messages=messages)
            other = plain.chat.completions.with_raw_response.create(model="m", messages=messages)
        differing = {"id", "created"}
        bodies = [json.loads(raw.http_response.content) for raw in (one, other)]
        assert len({json.dumps({k: b[k] for k in b if k not in differing}) for b in bodies}) == 1


class TestRefused:
    """What cannot be wrapped."""

    def test_a_client_that_is_wrapped(self, plain: openai.OpenAI, url: str) -> None:
        with pytest.raises(InvalidArgumentError, match="already"):
            wrap(wrap(plain))
        google = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=url))
        with pytest.raises(InvalidArgumentError, match="already"):
            wrap(wrap(google))

    def test_a_clouds_client(self) -> None:
        with (
            openai.AzureOpenAI(
                api_key="k", azure_endpoint="https://a.example", api_version="2024-02-01"
            ) as azure,
            pytest.raises(InvalidArgumentError, match="cloud"),
        ):
            wrap(azure)

    def test_what_is_no_client(self) -> None:
        with pytest.raises(InvalidArgumentError, match=r"known: builtins\.int"):
            wrap(5)

    def test_a_fallback_without_a_provider(self, plain: openai.OpenAI) -> None:
        with pytest.raises(InvalidArgumentError, match="base_url"):
            wrap(plain, fallback="direct")

    @pytest.mark.parametrize("key", ["", "a b"])
    def test_a_key_that_fits_no_header(self, plain: openai.OpenAI, key: str) -> None:
        with pytest.raises(InvalidArgumentError):
            wrap(plain, key=key)


class TestImagesThatComeBack:
    """Generated images: they cross once, as raw bytes, and the SDK sees what it always saw."""

    @staticmethod
    def paint(ai: openai.OpenAI, messages: Any) -> tuple[list[Any], list[str]]:
        tool: Any = {"type": "image_generation", "partial_images": 2}
        whole: Any = ai.responses.create(model="m", input=messages, tools=[tool])
        with ai.responses.stream(model="m", input=messages, tools=[tool]) as stream:
            events: list[Any] = list(stream)
        parts = [event.partial_image_b64 for event in events if hasattr(event, "partial_image_b64")]
        assert events[-1].response.output[0].result == whole.output[0].result
        return whole.output, parts

    def test_in_responses(self, chat: openai.OpenAI, plain: openai.OpenAI, seen: Seen) -> None:
        messages: Any = [{"role": "user", "content": "Paint"}]
        output, parts = self.paint(chat, messages)
        expected, expected_parts = self.paint(plain, messages)
        assert output[0].result == expected[0].result
        assert parts == expected_parts
        assert len(parts) == 2
        fetched = [path for method, path, _ in seen.requests if method == "GET"]
        assert len(fetched) == 1 + 3  # of the whole answer, and of the stream with its partial ones
        again: Any = [*messages, *output, {"role": "user", "content": "More"}]
        told = chat.responses.create(model="m", input=again).output_text
        assert told == plain.responses.create(model="m", input=again).output_text
        assert not seen.uploads
        assert seen.largest < 2000

    async def test_in_asynchronous_ones(self, url: str, seen: Seen) -> None:
        tool: Any = {"type": "image_generation", "partial_images": 1}
        async with openai.AsyncOpenAI(
            base_url=f"{url}/v1", api_key="k", http_client=seen.async_client()
        ) as ai:
            ours = wrap(ai)
            async with ours.responses.stream(model="m", input="Paint", tools=[tool]) as stream:
                events: list[Any] = [event async for event in stream]
            whole: Any = await ours.responses.create(model="m", input="Paint", tools=[tool])
        assert events[-1].response.output[0].result == whole.output[0].result
        assert not whole.output[0].result.startswith("blob:")

    @pytest.mark.parametrize("is_streamed", [False, True])
    def test_in_google_chats(self, url: str, seen: Seen, is_streamed: bool) -> None:
        config = types.GenerateContentConfig(response_modalities=["TEXT", "IMAGE"])
        with seen.client() as sender:
            options = types.HttpOptions(base_url=url, httpx_client=sender)
            google = genai.Client(api_key="k", http_options=options)
            painted: list[bytes] = []
            for ai in (wrap(google), google):
                chat: Any = ai.chats.create(model="m", config=config)
                if is_streamed:
                    chunks = chat.send_message_stream("Paint")
                    parts = [part for chunk in chunks for part in chunk.parts]
                else:
                    parts = chat.send_message("Paint").parts
                painted.append(parts[-1].inline_data.data)
                assert "Attachments: 1.\n1. PNG" in chat.send_message("More").text
        assert painted[0] == painted[1]
        assert painted[0].startswith(b"\x89PNG")
        assert any(path == f"/v1/blobs/{Digest.of(painted[0])}" for _, path, _ in seen.requests)

    def test_an_image_that_is_gone_is_an_error(self, in_front: Recorder) -> None:
        item = {
            "type": "image_generation_call",
            "id": "i",
            "status": "completed",
            "result": UNKNOWN,
        }
        body = json.dumps({"id": "r", "object": "response", "output": [item]}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        in_front.answers.append(f"{head}\r\n\r\n".encode() + body)
        in_front.answer = b"HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n"
        tool: Any = {"type": "image_generation"}
        with openai.OpenAI(base_url=f"{in_front.url}/v1", api_key="k", max_retries=0) as ai:
            with pytest.raises(openai.APIConnectionError) as caught:
                wrap(ai).responses.create(
                    model="m", input=[{"role": "user", "content": "x"}], tools=[tool]
                )
            assert "did not come" in str(caught.value.__cause__)
