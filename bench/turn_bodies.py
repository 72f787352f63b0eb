"""The requests that the bench sends: the same turn with its images inline, and as refs.

In every dialect, as its official client writes it.
"""

import base64
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType

from coatcheck.cli.photograph import photograph

_MODEL = "bench-vision"
_QUESTION = "What do these pictures have in common? Answer in one sentence."
_TYPE = "image/jpeg"

Part = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class TurnForm:
    """How one dialect writes a turn, and where it goes."""

    dialect: str
    path: str
    base_path: str
    """What an upstream's base URL has beside its origin."""
    inline: Callable[[str], Part]
    """Makes an image's part of base64."""
    ref: Callable[[str], Part]
    text: Callable[[str], Part]
    body: Callable[[Sequence[Part]], Part]
    """Makes a request of the parts of one message."""

    def inline_turn(self, images: Sequence[bytes]) -> bytes:
        """Return a request with the images inline."""
        return self._turn([self.inline(base64.b64encode(image).decode()) for image in images])

    def refs_turn(self, refs: Sequence[str]) -> bytes:
        """Return the same request with refs in their place."""
        return self._turn([self.ref(ref) for ref in refs])

    def text_turn(self, text: str = _QUESTION) -> bytes:
        """Return a request without images."""
        return _encode(self.body([self.text(text)]))

    def _turn(self, images: Sequence[Part]) -> bytes:
        return _encode(self.body([self.text(_QUESTION), *images]))


def photographs(count: int) -> list[bytes]:
    """Paint `count` different photographs of about 2.6 MB, on all processors."""
    with ProcessPoolExecutor(min(count, os.cpu_count() or 1)) as pool:
        return list(pool.map(photograph, range(1, count + 1)))


def _encode(body: Part) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _data_url(text: str) -> str:
    return f"data:{_TYPE};base64,{text}"


def _user(key: str, parts: Sequence[Part]) -> list[Part]:
    return [{"role": "user", key: [*parts]}]


CHAT = TurnForm(
    dialect="openai.chat",
    path="/v1/chat/completions",
    base_path="/v1",
    inline=lambda text: {"type": "image_url", "image_url": {"url": _data_url(text)}},
    ref=lambda ref: {"type": "image_url", "image_url": {"url": ref}},
    text=lambda text: {"type": "text", "text": text},
    body=lambda parts: {"model": _MODEL, "messages": _user("content", parts)},
)
_RESPONSES = TurnForm(
    dialect="openai.responses",
    path="/v1/responses",
    base_path="/v1",
    inline=lambda text: {"type": "input_image", "image_url": _data_url(text)},
    ref=lambda ref: {"type": "input_image", "image_url": ref},
    text=lambda text: {"type": "input_text", "text": text},
    body=lambda parts: {"model": _MODEL, "input": _user("content", parts)},
)
_ANTHROPIC = TurnForm(
    dialect="anthropic.messages",
    path="/v1/messages",
    base_path="",
    inline=lambda text: {
        "type": "image",
        "source": {"type": "base64", "media_type": _TYPE, "data": text},
    },
    ref=lambda ref: {"type": "image", "source": {"type": "url", "url": ref}},
    text=lambda text: {"type": "text", "text": text},
    body=lambda parts: {
        "model": _MODEL,
        "max_tokens": 100,
        "messages": _user("content", parts),
    },
)
_GEMINI = TurnForm(
    dialect="gemini.generate",
    path=f"/v1beta/models/{_MODEL}:generateContent",
    base_path="",
    inline=lambda text: {"inlineData": {"mimeType": _TYPE, "data": text}},
    ref=lambda ref: {"fileData": {"fileUri": ref, "mimeType": _TYPE}},
    text=lambda text: {"text": text},
    body=lambda parts: {"contents": _user("parts", parts)},
)


def _dify_image(base64_data: str = "", url: str = "") -> Part:
    return {
        "type": "image",
        "format": "jpg",
        "base64_data": base64_data,
        "url": url,
        "mime_type": _TYPE,
        "filename": "photograph.jpg",
        "detail": "low",
    }


_DIFY = TurnForm(
    dialect="dify.llm",
    path="/plugin/bench/dispatch/llm/invoke",
    base_path="",
    inline=lambda text: _dify_image(text),
    ref=lambda ref: _dify_image(url=ref),
    text=lambda text: {"type": "text", "data": text},
    body=lambda parts: {
        "user_id": "bench",
        "data": {
            "provider": "bench",
            "model_type": "llm",
            "model": _MODEL,
            "credentials": {},
            "prompt_messages": _user("content", parts),
            "model_parameters": {},
            "tools": None,
            "stop": None,
            "stream": True,
        },
    },
)

TURN_FORMS: Mapping[str, TurnForm] = MappingProxyType(
    {form.dialect: form for form in (CHAT, _RESPONSES, _ANTHROPIC, _GEMINI, _DIFY)}
)
