"""One turn of a conversation: the caller passes all messages, only new ones are sent.

The request names the longest prefix that the server is known to keep and appends the rest. It
falls back once when the server does not know the prefix any more (then the whole list goes), and
once when blobs are missing whose bytes the caller passed (then they are uploaded). Nothing else
is tried again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from coatcheck.protocol import (
    ANSWER_HEADER,
    ENVELOPE_KEY,
    PROMPT_HEADER,
    USER_HEADER,
    Digest,
    Envelope,
    InvalidDigestError,
    Json,
    JsonObject,
    PromptDigestError,
    RefForm,
    dialect,
    encode_json,
    prompt_digests,
)

from .answer import ChatAnswer, answer_of
from .blobs import headers_for
from .dehydrate import Messages, bring, copy_object, to_ref_form, upload_all
from .errors import BlobNotFoundError, InvalidAnswerError, InvalidArgumentError, PromptNotFoundError
from .exchange import Exchange, Reply, Request, Work
from .kept import KeptPrompts
from .refusal import json_object, refusal

DIALECT = "openai.chat"
PATH = "/v1/chat/completions"

_OURS = ("messages", ENVELOPE_KEY, "stream")


@dataclass(frozen=True, slots=True)
class Turn:
    """What the caller asks for: the whole conversation, and fields to send as they are."""

    model: str
    messages: Messages
    fields: Mapping[str, object]
    extra_headers: Mapping[str, str]
    is_streamed: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """A turn ready to be sent.

    `digests` has one for each message, or none at all where RFC 8785 cannot express the list:
    such a list goes without an envelope.
    """

    turn: Turn
    fields: JsonObject
    dehydrated: RefForm
    digests: list[Digest]
    named: Mapping[str, str]
    """The headers that say for whom its images are."""

    def request(self, start: int) -> Request:
        """Return the request that appends the messages from `start` on to those before."""
        body: JsonObject = {"model": self.turn.model, **self._messages(start), **self.fields}
        if self.turn.is_streamed:
            body["stream"] = True
        headers = {"Content-Type": "application/json", **self.turn.extra_headers}
        return Request("POST", PATH, headers, encode_json(body), keep_open=self.turn.is_streamed)

    def _messages(self, start: int) -> JsonObject:
        messages: list[Json] = [*self.dehydrated.messages]
        if not self.digests:
            return {"messages": messages}
        parent = self.digests[start - 1] if start else None
        return {ENVELOPE_KEY: Envelope(parent, messages[start:], {}).to_json()}


def chat(turn: Turn, kept: KeptPrompts) -> Exchange[ChatAnswer]:
    """Take an unstreamed turn.

    Raises:
        InvalidArgumentError: a value is not JSON, or a field is not the caller's to set.
        MalformedMessageError: a message is not the dialect's.
        BlobNotFoundError: refs in the messages do not resolve, and their bytes are not there.
        ServerError: the server or the upstream refused.
        InvalidAnswerError: what came is no answer.
    """
    prompt, reply = yield from take(turn, kept)
    if announced := _digest(reply, ANSWER_HEADER):
        kept.remember([announced])
    return answer_of(json_object(reply), prompt)


def take(turn: Turn, kept: KeptPrompts) -> Exchange[tuple[Digest | None, Reply]]:
    """Take a turn up to the head of its answer; return the kept prompt and the reply."""
    prepared = yield from _prepare(turn)
    start = kept.longest(prepared.digests)
    yield from _offer(prepared, start, len(prepared.dehydrated.messages))
    is_healed = False
    while True:
        reply = yield from prepared.request(start)
        prompt = _note(prepared, reply, kept)
        if reply.is_success:
            _check_kind(turn, reply)
            return prompt, reply
        error = refusal(reply)
        if isinstance(error, PromptNotFoundError) and start:
            kept.forget(prepared.digests[:start])
            yield from _offer(prepared, 0, start)
            start = 0
        elif isinstance(error, BlobNotFoundError) and not is_healed:
            yield from _heal(prepared, error)
            is_healed = True
        else:
            raise error


def _prepare(turn: Turn) -> Exchange[Prepared]:
    if not turn.messages:
        raise InvalidArgumentError("there are no messages")
    for key in _OURS:
        if key in turn.fields:
            hint = "call chat_stream" if key == "stream" else "see the method's arguments"
            raise InvalidArgumentError(f"{key!r} is not a field to pass: {hint}")
    fields = copy_object(turn.fields, "fields")
    dehydrated = yield from to_ref_form(turn.messages, dialect(DIALECT))
    digests = yield from Work(partial(_digests, dehydrated.messages))
    return Prepared(turn, fields, dehydrated, digests, _named(turn, fields))


def _named(turn: Turn, fields: JsonObject) -> Mapping[str, str]:
    """Return whom the server takes the turn to be for, in a header: so its images are."""
    for name, value in turn.extra_headers.items():
        if name.lower() == USER_HEADER.lower():
            return headers_for(value)
    return headers_for(dialect(DIALECT).end_user(fields))


def _digests(messages: list[Json]) -> list[Digest]:
    try:
        return prompt_digests(DIALECT, messages)
    except PromptDigestError:
        return []


def _offer(prepared: Prepared, start: int, stop: int) -> Exchange[None]:
    """Upload what some of the messages need; a kept prompt holds what its messages name."""
    inlines = prepared.dehydrated.inline
    yield from bring(
        [inline for inline in inlines if start <= inline.message < stop], prepared.named
    )


def _heal(prepared: Prepared, error: BlobNotFoundError) -> Exchange[None]:
    at_hand = {inline.digest for inline in prepared.dehydrated.inline}
    lost = {entry.digest for entry in error.missing}
    absent = [digest for digest in lost if digest is not None and digest in at_hand]
    if not absent or len(absent) < len(lost):
        raise error  # sending some would not make the turn possible
    yield from upload_all(absent, prepared.dehydrated.inline, prepared.named)


def _check_kind(turn: Turn, reply: Reply) -> None:
    kind = reply.headers.get("content-type", "")
    if turn.is_streamed and not kind.startswith("text/event-stream"):
        raise InvalidAnswerError(f"a stream was asked for, and {kind or 'no type'} came")


def _note(prepared: Prepared, reply: Reply, kept: KeptPrompts) -> Digest | None:
    """Remember the prompt when the server names it: that means it is kept, also on an error."""
    named = _digest(reply, PROMPT_HEADER)
    if named is None or not prepared.digests or named != prepared.digests[-1]:
        return None
    kept.remember(prepared.digests)
    return named


def _digest(reply: Reply, header: str) -> Digest | None:
    try:
        return Digest(reply.headers.get(header.lower(), ""))
    except InvalidDigestError:
        return None
