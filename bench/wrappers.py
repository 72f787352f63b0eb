"""What a turn costs its client: official SDKs plain, wrapped, and with a transport of ours.

Each SDK asks with one image that was sent before, as Python objects that stay the same. The processor time is
this process's, user and system, for turns alone; the first turns of a round, which find the caches as the
other way left them, are not counted. Rounds alternate between the ways, and the best round of each counts: what
else happens on the machine only adds. Plain SDKs ask the upstream itself.
"""

import base64
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import anthropic
import httpx2
import openai
from google import genai
from google.genai import types

from coatcheck.client import http_client, wrap

from .finding import Finding

MAX_WRAP_RATIO = 0.2
MAX_TRANSPORT_RATIO = 1.2
MAX_TURN_BYTES = 2000.0
_TURNS_A_ROUND = 6
_FIRST_TURNS = 2

Ask = Callable[[], object]
Ways = Mapping[str, Ask]


def measure_wrappers(
    upstream_url: str, coatcheck_url: str, image: bytes, rounds: int, say: Callable[[str], None]
) -> Iterator[Finding]:
    """Yield the ratios of processor time for each SDK, and what a wrapped one sends."""
    for name, make in (("openai", _openai), ("anthropic", _anthropic), ("google-genai", _genai)):
        say(f"{name}: {rounds} rounds of {_TURNS_A_ROUND} turns, plain, wrapped and by a transport")
        with ExitStack() as stack:
            sent: list[int] = []
            ways = make(stack, upstream_url, coatcheck_url, image, sent)
            yield from _compared(f"{name}, a known image of 2.6 MB", ways, rounds)
            sent.clear()
            ways["wrap"]()
            told = f"{len(sent)} request"
            yield Finding(f"{name}, wrap, body of a turn", sum(sent), MAX_TURN_BYTES, "bytes", told)


def _compared(name: str, ways: Ways, rounds: int) -> Iterator[Finding]:
    spent: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds):
        for way in list(ways)[:: 1 if number % 2 else -1]:
            spent[way].append(_round(ways[way]))
    plain, ours, transport = (min(spent[way]) for way in ("plain", "wrap", "http_client"))
    for way, value, limit in (
        ("wrap", ours, MAX_WRAP_RATIO),
        ("http_client", transport, MAX_TRANSPORT_RATIO),
    ):
        compared = f"{value * 1000:.2f} ms, plain SDK {plain * 1000:.2f} ms"
        yield Finding(f"{name}, {way}, client CPU", value / plain, limit, "x", compared)


def _round(ask: Ask) -> float:
    """Return the processor time of a turn, in seconds."""
    for _ in range(_FIRST_TURNS):
        ask()
    before = time.process_time()
    for _ in range(_TURNS_A_ROUND):
        ask()
    return (time.process_time() - before) / _TURNS_A_ROUND


def _counting(stack: ExitStack, sent: list[int]) -> httpx2.Client:
    """Return a client that notes how long the bodies are that it sends."""

    def note(request: httpx2.Request) -> None:
        sent.append(len(request.content))

    return stack.enter_context(httpx2.Client(event_hooks={"request": [note]}))


def _openai(
    stack: ExitStack, upstream_url: str, coatcheck_url: str, image: bytes, sent: list[int]
) -> Ways:
    url = f"data:image/jpeg;base64,{base64.b64encode(image).decode()}"
    parts: Any = [
        {"type": "text", "text": "What?"},
        {"type": "image_url", "image_url": {"url": url}},
    ]
    messages: Any = [{"role": "user", "content": parts}]

    def asking(ai: openai.OpenAI) -> Ask:
        return lambda: ai.chat.completions.create(model="bench", messages=messages)

    counting = _counting(stack, sent)
    sender = stack.enter_context(http_client(coatcheck_url, library="httpx2"))
    plain = stack.enter_context(openai.OpenAI(base_url=f"{upstream_url}/v1", api_key="none"))
    ours = openai.OpenAI(base_url=f"{coatcheck_url}/v1", api_key="none", http_client=counting)
    return {
        "plain": asking(plain),
        "wrap": asking(wrap(ours)),
        "http_client": asking(openai.OpenAI(api_key="none", http_client=sender)),
    }


def _anthropic(
    stack: ExitStack, upstream_url: str, coatcheck_url: str, image: bytes, sent: list[int]
) -> Ways:
    data = base64.b64encode(image).decode()
    source = {"type": "base64", "media_type": "image/jpeg", "data": data}
    messages: Any = [{"role": "user", "content": [{"type": "image", "source": source}]}]

    def asking(ai: anthropic.Anthropic) -> Ask:
        return lambda: ai.messages.create(model="bench", max_tokens=9, messages=messages)

    counting = _counting(stack, sent)
    sender = stack.enter_context(http_client(coatcheck_url, library="httpx2"))
    plain = stack.enter_context(anthropic.Anthropic(base_url=upstream_url, api_key="none"))
    ours = anthropic.Anthropic(base_url=coatcheck_url, api_key="none", http_client=counting)
    return {
        "plain": asking(plain),
        "wrap": asking(wrap(ours)),
        "http_client": asking(anthropic.Anthropic(api_key="none", http_client=sender)),
    }


def _genai(
    stack: ExitStack, upstream_url: str, coatcheck_url: str, image: bytes, sent: list[int]
) -> Ways:
    contents: Any = ["What?", types.Part.from_bytes(data=image, mime_type="image/jpeg")]

    def asking(url: str, sender: httpx2.Client | None, *, is_wrapped: bool = False) -> Ask:
        options = types.HttpOptions(base_url=url, httpx_client=sender)
        ai = stack.enter_context(genai.Client(api_key="none", http_options=options))
        ours = wrap(ai) if is_wrapped else ai
        return lambda: ours.models.generate_content(model="bench", contents=contents)

    sender = stack.enter_context(http_client(coatcheck_url, library="httpx2"))
    return {
        "plain": asking(upstream_url, None),
        "wrap": asking(coatcheck_url, _counting(stack, sent), is_wrapped=True),
        "http_client": asking(coatcheck_url, sender),
    }
