"""What is appended for an answer is what the providers' own SDKs send back, in their usual code.

A first turn is kept and answered; a second one carries the first's messages and its answer as the SDK
writes them. Where that list is one that was named, none of it need come up again.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import anthropic
import openai
import pytest
from google import genai

from coatcheck.protocol import DIALECTS, JsonObject, prompt_digests, ref_form

from .scripted import Scripted, events_of, rows, spoken_in

Fixture = Callable[..., Any]
KEEP = {"Coatcheck-Prompt": "keep"}
STREAMS = pytest.mark.parametrize("is_streamed", [False, True], ids=["whole", "streamed"])


def answer_with(script: Scripted, row: Any) -> None:
    if "events" in row:
        script.stream(events_of(row))
    else:
        script.say(row["body"])


def is_named(daemon: Any, upstream: Any, dialect: str) -> bool:
    """Say whether the list up to the last message of the second request is kept, and how long it is."""
    messages = upstream.seen[1].json[DIALECTS[dialect].messages_key]
    form = ref_form(DIALECTS[dialect], messages[:-1]).messages
    name = prompt_digests(dialect, form)[-1]
    return len(messages) > 2 and ("default", dialect, name) in daemon.prompts.kept


async def setting(
    dialect: str, about: str, is_streamed: bool, vectors: Fixture, *run: Fixture
) -> tuple[Any, Any]:
    """Start a daemon over an upstream that answers as a vector says."""
    kind = "streamed" if is_streamed else "whole"
    (row,) = (row for row in rows(vectors, kind, spoken_in(dialect)) if row["about"] == about)
    script = Scripted()
    answer_with(script, row)
    run_daemon, run_upstream = run
    upstream = await run_upstream(script, dialect=dialect)
    if DIALECTS[dialect].provider.base_path == "":
        bare = upstream.config.base_url.removesuffix("/v1")
        return await run_daemon(replace(upstream.config, base_url=bare)), upstream
    return await run_daemon(upstream.config), upstream


@STREAMS
async def test_openai_responses(
    is_streamed: bool, run_daemon: Fixture, run_upstream: Fixture, vectors: Fixture
) -> None:
    about = "the items of the last event" if is_streamed else "parallel calls"
    daemon, upstream = await setting(
        "openai.responses", about, is_streamed, vectors, run_daemon, run_upstream
    )
    hello: Any = {"role": "user", "content": "Hi"}
    async with openai.AsyncOpenAI(
        base_url=f"{daemon.url}/v1", api_key="k", default_headers=KEEP, max_retries=0
    ) as ai:
        if is_streamed:
            async with ai.responses.stream(model="m", input=[hello]) as stream:
                response: Any = await stream.get_final_response()
        else:
            response = await ai.responses.create(model="m", input=[hello])
        again: Any = [hello, *response.output, {"role": "user", "content": "More"}]
        with contextlib.suppress(openai.OpenAIError):
            await ai.responses.create(model="m", input=again)
    assert is_named(daemon, upstream, "openai.responses")


@STREAMS
async def test_anthropic(
    is_streamed: bool, run_daemon: Fixture, run_upstream: Fixture, vectors: Fixture
) -> None:
    about = "thinking with its signature, and parallel calls"
    daemon, upstream = await setting(
        "anthropic.messages", about, is_streamed, vectors, run_daemon, run_upstream
    )
    hello: Any = {"role": "user", "content": "Hi"}
    async with anthropic.AsyncAnthropic(
        base_url=daemon.url, api_key="k", default_headers=KEEP, max_retries=0
    ) as claude:
        if is_streamed:
            async with claude.messages.stream(model="m", max_tokens=9, messages=[hello]) as stream:
                message: Any = await stream.get_final_message()
        else:
            message = await claude.messages.create(model="m", max_tokens=9, messages=[hello])
        answer: Any = {"role": "assistant", "content": message.content}
        with contextlib.suppress(anthropic.AnthropicError):
            await claude.messages.create(model="m", max_tokens=9, messages=[hello, answer, hello])
    assert is_named(daemon, upstream, "anthropic.messages")


@STREAMS
async def test_gemini_chats(
    is_streamed: bool, run_daemon: Fixture, run_upstream: Fixture, vectors: Fixture
) -> None:
    about = "each chunk's content is a message" if is_streamed else "parallel calls"
    daemon, upstream = await setting(
        "gemini.generate", about, is_streamed, vectors, run_daemon, run_upstream
    )
    options = genai.types.HttpOptions(base_url=daemon.url, headers=KEEP)
    google = genai.Client(api_key="k", http_options=options)  # its other half warns under aiohttp

    def talk() -> None:
        with contextlib.closing(google):
            chat: Any = google.chats.create(model="m")
            for text in ("Hi", "More"):
                if is_streamed:
                    for _ in chat.send_message_stream(text):
                        pass
                else:
                    chat.send_message(text)

    await asyncio.to_thread(talk)
    assert is_named(daemon, upstream, "gemini.generate")


@STREAMS
async def test_openai_chat_as_programs_write_it(
    is_streamed: bool, run_daemon: Fixture, run_upstream: Fixture, vectors: Fixture
) -> None:
    """The SDK's object has more keys than a next request needs; a message by hand has not."""
    about = "parallel calls, arguments in pieces" if is_streamed else "parallel calls"
    daemon, upstream = await setting(
        "openai.chat", about, is_streamed, vectors, run_daemon, run_upstream
    )
    hello: Any = {"role": "user", "content": "Hi"}
    async with openai.AsyncOpenAI(
        base_url=f"{daemon.url}/v1", api_key="k", default_headers=KEEP, max_retries=0
    ) as ai:
        if is_streamed:
            async with ai.chat.completions.stream(model="m", messages=[hello]) as stream:
                completion: Any = await stream.get_final_completion()
        else:
            completion = await ai.chat.completions.create(model="m", messages=[hello])
        message = completion.choices[0].message
        calls = [
            {"id": call.id, "type": "function", "function": function_of(call)}
            for call in message.tool_calls
        ]
        answer: Any = {"role": "assistant", "content": message.content, "tool_calls": calls}
        with contextlib.suppress(openai.OpenAIError):
            await ai.chat.completions.create(model="m", messages=[hello, answer, hello])
    assert is_named(daemon, upstream, "openai.chat")


def function_of(call: Any) -> JsonObject:
    return {"name": call.function.name, "arguments": call.function.arguments}


@pytest.mark.parametrize("headers", [{}, {"Coatcheck-Answer-Refs": "1"}], ids=["inline", "refs"])
@STREAMS
async def test_openai_gives_back_a_generated_image(
    headers: dict[str, str], is_streamed: bool, run_daemon: Fixture
) -> None:
    daemon = await run_daemon()
    hello: Any = {"role": "user", "content": "Paint"}
    tool: Any = {"type": "image_generation", "partial_images": 2}
    async with openai.AsyncOpenAI(
        base_url=f"{daemon.url}/v1", api_key="k", default_headers=headers, max_retries=0
    ) as ai:
        if is_streamed:
            async with ai.responses.stream(model="m", input=[hello], tools=[tool]) as stream:
                seen: list[Any] = [event async for event in stream]
                response: Any = await stream.get_final_response()
            parts = [each for each in seen if each.type.endswith("partial_image")]
            assert len({part.partial_image_b64 for part in parts}) == 2
            assert all(
                part.partial_image_b64.startswith("blob:") == bool(headers) for part in parts
            )
        else:
            response = await ai.responses.create(model="m", input=[hello], tools=[tool])
        assert response.output[0].result.startswith("blob:") == bool(headers)
        again: Any = [hello, *response.output, {"role": "user", "content": "More"}]
        said = await ai.responses.create(model="m", input=again)
        assert "Attachments: 1.\n1. PNG 64x64" in said.output_text
        with pytest.raises(openai.BadRequestError):
            await ai.responses.create(
                model="m", input="x", tools=[{"type": "image_generation", "partial_images": 4}]
            )


@pytest.mark.parametrize("headers", [{}, {"Coatcheck-Answer-Refs": "1"}], ids=["inline", "refs"])
@STREAMS
async def test_gemini_gives_back_a_generated_image(
    headers: dict[str, str], is_streamed: bool, run_daemon: Fixture
) -> None:
    daemon = await run_daemon()
    options = genai.types.HttpOptions(base_url=daemon.url, headers=headers)
    google = genai.Client(api_key="k", http_options=options)  # its other half warns under aiohttp
    config = genai.types.GenerateContentConfig(response_modalities=["TEXT", "IMAGE"])

    def talk() -> None:
        with contextlib.closing(google):
            chat: Any = google.chats.create(model="m", config=config)
            if is_streamed:
                parts = [part for each in chat.send_message_stream("Paint") for part in each.parts]
            else:
                parts = chat.send_message("Paint").parts
            data, file = parts[-1].inline_data, parts[-1].file_data
            assert (
                file.file_uri.startswith("blob:") if headers else data.data.startswith(b"\x89PNG")
            )
            assert "Attachments: 1.\n1. PNG 64x64" in chat.send_message("More").text

    await asyncio.to_thread(talk)
