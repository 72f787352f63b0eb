"""Voices: how the built-in upstream listens and speaks in one dialect.

A voice is a module, and a line in `echo_voices.py`. It checks a request as the dialect's provider
does, and frames what there is to say. It does no I/O and keeps no state.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pybase64
from multidict import CIMultiDict

from coatcheck.protocol import Digest, Json, JsonObject, Path, encode_json

from .errors import RequestRefusedError
from .upstream import Headers

_JSON = "application/json"
_SSE = "text/event-stream; charset=utf-8"
MAX_TEXT = 200
"""Characters of the last message that are repeated."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request has an attachment, as `Dialect.walk` spells it, and a file id if one is there."""

    path: Path
    is_image: bool
    file_id: str | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """A request: its target without the query, the query, and its JSON."""

    path: str
    query: str
    body: JsonObject


@dataclass(frozen=True, slots=True)
class Said:
    """What there is to say. `created` is in Unix seconds, `heard_tokens` are the request's."""

    text: str
    created: int
    heard_tokens: int

    @property
    def words(self) -> Sequence[str]:
        """The text in pieces, as a stream has it."""
        first, *rest = self.text.split(" ")
        return [first, *(f" {word}" for word in rest)]

    @property
    def id(self) -> str:
        """Some characters that name the text."""
        return Digest.of(self.text.encode()).hex[:24]


@dataclass(frozen=True, slots=True)
class EchoAnswer:
    """An answer that is at hand, piece by piece."""

    status: int
    headers: Headers
    pieces: Sequence[bytes]

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Yield the pieces."""
        for piece in self.pieces:
            yield piece


class Voice(Protocol):
    """One dialect, heard and spoken."""

    @property
    def dialect(self) -> str:
        """Its name."""
        ...

    @property
    def takes_both_alphabets(self) -> bool:
        """Whether its provider takes base64 in either alphabet, wherever it stands."""
        ...

    def places(self, heard: Heard) -> Sequence[Place]:
        """Check a request; return where it has attachments, in any form.

        Raises:
            RequestRefusedError: its provider would refuse it.
        """
        ...

    def last_text(self, message: Json) -> str:
        """Return the text of a message; empty where it has none."""
        ...

    def answer(self, heard: Heard, said: Said) -> EchoAnswer:
        """Return the answer, whole or as a stream, as it was asked for."""
        ...


def json_answer(status: int, value: Json) -> EchoAnswer:
    """Return an answer of JSON."""
    body = encode_json(value)
    headers = CIMultiDict({"Content-Type": _JSON, "Content-Length": str(len(body))})
    return EchoAnswer(status, headers, [body])


def event_stream(events: Sequence[bytes], status: int = 200) -> EchoAnswer:
    """Return an answer of server-sent events."""
    return EchoAnswer(status, CIMultiDict({"Content-Type": _SSE}), events)


def require_list(value: Json, path: str, what: str) -> Sequence[Json]:
    """Return a list that has something in it.

    Raises:
        RequestRefusedError: the value is none.
    """
    if not isinstance(value, list) or not value:
        raise RequestRefusedError(f"a list of {what} is required", "invalid_request", path)
    return value


def require_object(value: Json, path: str) -> JsonObject:
    """Return an object.

    Raises:
        RequestRefusedError: the value is none.
    """
    if not isinstance(value, dict):
        raise RequestRefusedError("an object is required", "invalid_request", path)
    return value


def require_one_of(value: Json, known: frozenset[str], path: str) -> str:
    """Return a string that is one of those known.

    Raises:
        RequestRefusedError: it is not.
    """
    if not isinstance(value, str) or value not in known:
        raise RequestRefusedError(f"unknown value {value!r:.80}", "invalid_value", path)
    return value


def joined_texts(parts: Json) -> str:
    """Return the `text` of each part, joined; a string is text itself."""
    if isinstance(parts, str):
        return parts[:MAX_TEXT]
    listed = parts if isinstance(parts, list) else []
    texts = [part.get("text") for part in listed if isinstance(part, dict)]
    return " ".join(text for text in texts if isinstance(text, str))[:MAX_TEXT]


def encode_base64(data: bytes) -> str:
    """Return bytes as providers write them."""
    return pybase64.b64encode(data).decode()


def file_id_of(value: JsonObject) -> str | None:
    """Return the `file_id` of a part or a source."""
    file_id = value.get("file_id")
    return file_id if isinstance(file_id, str) and file_id else None
