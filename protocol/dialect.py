"""Dialects: what one provider's wire format lets us know and change.

A dialect finds attachments in parsed messages. It does no I/O and keeps no state; each is one
module, and one line in `dialects.py`.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from .attachment import Path, Slot
from .json_value import Json, JsonObject
from .provider import Provider

_parameter = re.compile(r"\{[a-z]+\}")


@dataclass(frozen=True, slots=True)
class Call:
    """One kind of POST that carries messages.

    `path` is a route, such as `/v1/models/{model}:countTokens`. A call that is no turn says nothing
    in answer, as where tokens are counted. An answer that is streamed comes bit by bit, in whichever
    form.
    """

    path: str
    summary: str
    is_turn: bool = True
    is_streamed: bool = False

    def fits(self, path: str) -> bool:
        """Whether a path is one of this call's."""
        pattern = "[^/]+".join(map(re.escape, _parameter.split(self.path)))
        return re.fullmatch(pattern, path) is not None


class Dialect(Protocol):
    """One provider's wire format."""

    @property
    def name(self) -> str:
        """The name in settings and prompt digests, such as `openai.chat`."""
        ...

    @property
    def provider(self) -> Provider:
        """Whose it is, which decides how its errors look."""
        ...

    @property
    def calls(self) -> Sequence[Call]:
        """The requests that are written in it."""
        ...

    @property
    def messages_key(self) -> str:
        """The key of the message list, in what `framed` returns."""
        ...

    @property
    def model_key(self) -> str | None:
        """The key of the model, in what `framed` returns; None where the path names it."""
        ...

    def list_messages(self, messages: Json) -> list[Json] | None:
        """Return the list that the value of `messages_key` stands for; None where it is none.

        For the prompt digest and for what is kept: a dialect may take a single message, or its
        text, in place of a list. The messages are not copied.
        """
        ...

    def end_user(self, body: JsonObject) -> str | None:
        """Return whom a request's body says that it is for; None where it names nobody.

        A name that no end user may have counts as none: the field is the provider's, not ours.
        """
        ...

    def walk(self, messages: Json, origins: Collection[str] = ()) -> list[Slot]:
        """Find every attachment, in the order of the text; `messages` is what `messages_key` has.

        `origins` are the authorities (`host:port`, lower case) whose `/v1/blobs/` URLs are ours.
        Unknown kinds of parts are passed over. The messages are not changed.

        Raises:
            MalformedMessageError: a type that no reading allows, a malformed ref, or a malformed
                pointer; its path says where.
        """
        ...

    def walk_beside(self, body: JsonObject, origins: Collection[str] = ()) -> list[Slot]:
        """Find the attachments of a body that stand outside its messages; see `walk`.

        They are no part of the prompt, but what of them is ours must not go on unresolved.
        """
        ...


def framed(dialect: Dialect, body: JsonObject) -> JsonObject:
    """Return the object of a body that has the message list: most often the body itself.

    It is not copied. An empty one where the body has none.
    """
    frame = dialect.provider.frame
    if frame is None:
        return body
    inner = body.get(frame)
    return inner if isinstance(inner, dict) else {}


def with_framed(dialect: Dialect, body: JsonObject, inner: JsonObject) -> JsonObject:
    """Return a body with another object in place of what `framed` returns; the body is not changed."""
    frame = dialect.provider.frame
    return inner if frame is None else {**body, frame: inner}


def messages_in(dialect: Dialect, body: JsonObject) -> Json:
    """Return what stands where a body has its message list; None where nothing does."""
    return framed(dialect, body).get(dialect.messages_key)


def messages_path(dialect: Dialect) -> Path:
    """Return where a body has its message list."""
    frame = dialect.provider.frame
    return (dialect.messages_key,) if frame is None else (frame, dialect.messages_key)
