"""A conversation of ten turns with tools and images, as programs have it: by ids, or sent whole."""

import base64
from typing import Any

import openai
from openai.types.responses import Response

from .strict_responses import Item, noisy, painted

FIELDS: Item = {
    "model": "m",
    "instructions": "Be kind.",
    "tools": [{"type": "function", "name": "weather", "parameters": {}, "strict": True}],
    "include": ["reasoning.encrypted_content"],
}
"""What stands beside the input in each turn."""


def user(text: str, *images: bytes) -> Item:
    parts: list[Item] = [{"type": "input_text", "text": text}]
    for image in images:
        parts.append({"type": "input_image", "image_url": data_url(image), "detail": "low"})
    return {"role": "user", "content": parts}


def data_url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


TURNS: list[Item] = [
    {"items": [user("think say hello", painted("red"))]},
    {"items": [user("think call weather call weather")]},
    {"output": "say done"},
    {"items": [user("custom shell", noisy()), user("custom shell")]},
    {"output": user("think say ok", painted("green"))["content"]},
    {"items": [user("paint red")]},
    {"items": [{"role": "developer", "content": "be \u00e9 brief"}, user("short")]},
    {"items": [user("think call weather")]},
    {"output": "say so"},
    {"items": [user("say bye")]},
]
"""What each turn adds: items, or an output for each call of the answer before it."""


def added(turn: Item, before: list[Item]) -> list[Item]:
    """Return the items that a turn adds to what was answered `before`."""
    if "items" in turn:
        return list(turn["items"])
    return [
        {"type": f"{item['type']}_output", "call_id": item["call_id"], "output": turn["output"]}
        for item in before
        if item["type"].endswith("_call")
    ]


async def ask(ai: openai.AsyncOpenAI, *, stream: bool, **fields: Any) -> Response:
    """Ask as programs do; of a stream the last event has the response."""
    asked = {**FIELDS, **fields}
    create: Any = ai.responses.create
    if not stream:
        return await create(**asked)  # type: ignore[no-any-return]
    last: Response | None = None
    async for event in await create(**asked, stream=True):
        if event.type in ("response.completed", "response.incomplete"):
            last = event.response
    assert last is not None
    return last


def items_of(response: Response) -> list[Item]:
    return [item.model_dump(mode="json", exclude_unset=True) for item in response.output]


async def converse(ai: openai.AsyncOpenAI, *, stream: bool) -> list[Response]:
    """Go through ten turns, sending of each only what is new."""
    answers: list[Response] = []
    before: list[Item] = []
    for turn in TURNS:
        named = {"previous_response_id": answers[-1].id} if answers else {}
        answers.append(await ask(ai, stream=stream, input=added(turn, before), **named))
        before = items_of(answers[-1])
    return answers


async def converse_whole(ai: openai.AsyncOpenAI, *, stream: bool) -> list[Response]:
    """Go through the same turns, sending everything each time."""
    answers: list[Response] = []
    before: list[Item] = []
    whole: list[Item] = []
    for turn in TURNS:
        whole += added(turn, before)
        answers.append(await ask(ai, stream=stream, input=whole))
        before = items_of(answers[-1])
        whole += before
    return answers
