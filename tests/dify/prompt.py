"""Prompts in Dify's form: what the API puts into an invocation's `data`."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from coatcheck.protocol import Json, JsonObject


@dataclass(frozen=True, slots=True)
class Picture:
    """Bytes that begin like a JPEG and that no codec makes smaller."""

    data: bytes
    name: str

    @property
    def sha256(self) -> str:
        """The digest's hex."""
        return hashlib.sha256(self.data).hexdigest()


def picture(size: int, seed: int = 0) -> Picture:
    """Return a picture of so many bytes; another seed is another picture."""
    head = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
    data = head + Random(seed).randbytes(size - len(head) - 2) + b"\xff\xd9"
    return Picture(data, f"{seed}.jpg")


def image(of: Picture, ref: str | None = None) -> JsonObject:
    """Return an image content: inline, or with a ref where its URL would stand."""
    return {
        "type": "image",
        "format": "jpg",
        "base64_data": "" if ref else base64.b64encode(of.data).decode(),
        "url": ref or "",
        "mime_type": "image/jpeg",
        "filename": of.name,
        "detail": "low",
    }


def document(of: Picture, ref: str | None = None, kind: str = "document") -> JsonObject:
    """Return a document content, or one of audio or video: inline, or a ref."""
    content = image(of, ref) | {"type": kind, "format": "pdf", "mime_type": "application/pdf"}
    del content["detail"]
    return content


def user(text: str, *contents: JsonObject) -> JsonObject:
    """Return a user's message."""
    items: list[Json] = [{"type": "text", "data": text}, *contents]
    return {"role": "user", "content": items if contents else text, "name": None}


def assistant(text: str) -> JsonObject:
    """Return an answer as it comes back as history."""
    return {"role": "assistant", "content": text, "name": None, "tool_calls": []}


def invocation(
    model_url: str, messages: Sequence[JsonObject], tells_contents: bool = False, **more: Json
) -> JsonObject:
    """Return an invocation's `data`. `model_url` is where the plugin finds its model.

    With `tells_contents` the plugin tells the model what it was given: `Asked.contents`.
    """
    return {**settings(model_url, tells_contents), "prompt_messages": list(messages), **more}


def settings(model_url: str, tells_contents: bool = False) -> JsonObject:
    """Return an invocation's `data` without its messages."""
    credentials: JsonObject = {
        "endpoint_url": model_url,
        "api_key": "sk-loopback",
        "mode": "chat",
        "context_size": "1000000",
        "vision_support": "support",
        "tells_contents": tells_contents,
    }
    return {
        "provider": "loopback",
        "model_type": "llm",
        "model": "gpt-4o",
        "credentials": credentials,
        "model_parameters": {},
        "tools": None,
        "stop": None,
        "stream": True,
    }
