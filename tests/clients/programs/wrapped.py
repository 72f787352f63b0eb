"""OpenAI's and Anthropic's SDKs of any version, wrapped and given transports.

Reads from standard input where Coatcheck is, and where its package is importable; prints a line of JSON:
what each way of asking was told, plain and through Coatcheck, and the paths that each wrapped client sent to.
"""

import asyncio
import json
import sys
from typing import Any

PLAN = json.load(sys.stdin)
sys.path += PLAN["paths"]

import anthropic
import openai

from coatcheck.client import async_http_client, http_client, wrap
from coatcheck.client.sdk.library import library_of

URL, IMAGE = PLAN["url"], PLAN["image"]
CHAT: Any = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}},
        ],
    },
]
SOURCE = {"type": "base64", "media_type": "image/png", "data": IMAGE}
MESSAGES: Any = [{"role": "user", "content": [{"type": "image", "source": SOURCE}]}]
RESPONSES: Any = [
    {
        "role": "user",
        "content": [
            {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{IMAGE}"}
        ],
    },
]


def ask_openai(ai: openai.OpenAI) -> list[str]:
    create = ai.chat.completions.create
    stream = create(model="m", messages=CHAT, stream=True)
    raw = ai.chat.completions.with_raw_response.create(model="m", messages=CHAT)
    return [
        create(model="m", messages=CHAT).choices[0].message.content or "",
        "".join(c.choices[0].delta.content or "" for c in stream if c.choices),
        raw.parse().choices[0].message.content or "",
        ai.with_options(timeout=9).responses.create(model="m", input=RESPONSES).output_text,
    ]


async def ask_async_openai(ai: openai.AsyncOpenAI) -> list[str]:
    whole = await ai.chat.completions.create(model="m", messages=CHAT)
    stream = await ai.chat.completions.create(model="m", messages=CHAT, stream=True)
    chunks = [chunk async for chunk in stream]
    return [
        whole.choices[0].message.content or "",
        "".join(c.choices[0].delta.content or "" for c in chunks if c.choices),
    ]


def ask_anthropic(ai: anthropic.Anthropic) -> list[str]:
    whole: Any = ai.messages.create(model="m", max_tokens=9, messages=MESSAGES)
    with ai.messages.stream(model="m", max_tokens=9, messages=MESSAGES) as stream:
        told = stream.get_final_text()
    beta: Any = ai.beta.messages.create(model="m", max_tokens=9, messages=MESSAGES)
    return [whole.content[0].text, told, beta.content[0].text]


async def ask_async_anthropic(ai: anthropic.AsyncAnthropic) -> list[str]:
    whole: Any = await ai.messages.create(model="m", max_tokens=9, messages=MESSAGES)
    return [whole.content[0].text]


def sending(paths: list[str], ai: Any) -> Any:
    """Note what a client sends, by its connection's hook."""
    ai._client.event_hooks = {"request": [lambda request: paths.append(request.url.path)]}
    return ai


def sending_async(paths: list[str], ai: Any) -> Any:
    async def note(request: Any) -> None:
        paths.append(request.url.path)

    ai._client.event_hooks = {"request": [note]}
    return ai


async def main() -> None:
    paths: list[str] = []
    common: dict[str, Any] = {"api_key": "k"}
    with openai.OpenAI(base_url=f"{URL}/v1", **common) as plain:
        told = {"openai": [ask_openai(plain), ask_openai(wrap(sending(paths, plain)))]}
        library = library_of(plain._client).client.__module__.partition(".")[0]
    with anthropic.Anthropic(base_url=URL, **common) as other:
        told["anthropic"] = [ask_anthropic(other), ask_anthropic(wrap(sending(paths, other)))]
    async with openai.AsyncOpenAI(base_url=f"{URL}/v1", **common) as plain:
        expected = await ask_async_openai(plain)
        ours = await ask_async_openai(wrap(sending_async(paths, plain)))
        told["async openai"] = [expected, ours]
    async with anthropic.AsyncAnthropic(base_url=URL, **common) as other:
        expected = await ask_async_anthropic(other)
        ours = await ask_async_anthropic(wrap(sending_async(paths, other)))
        told["async anthropic"] = [expected, ours]
    with http_client(URL) as sender:
        chosen = type(sender).__module__.partition(".")[0]
        told["openai"].append(ask_openai(openai.OpenAI(http_client=sender, **common)))
        told["anthropic"].append(ask_anthropic(anthropic.Anthropic(http_client=sender, **common)))
    async with async_http_client(URL) as sender:
        ai = openai.AsyncOpenAI(http_client=sender, **common)
        told["async openai"].append(await ask_async_openai(ai))
    print(json.dumps({"told": told, "paths": paths, "libraries": [library, chosen]}))


asyncio.run(main())
