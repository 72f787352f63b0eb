"""What is kept of an observed turn: digests and lengths, no text and no image.

The lengths say what a Coatcheck client would have sent instead. They are taken from what the
protocol's own functions write, so that the figures hold when the client comes.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from coatcheck.protocol import (
    ENVELOPE_KEY,
    MAX_DIGESTS,
    Dialect,
    Digest,
    Envelope,
    InlineBlob,
    Json,
    JsonObject,
    MissingRequest,
    PromptDigestError,
    ProtocolError,
    encode_json,
    prompt_digests,
    prompt_root,
    ref_form,
)

from .errors import DaemonError
from .turn import TurnLimits, parse_request

# A message this long, or one with an image, is not met twice by chance.
_TELLING_BYTES = 200
_BRACES = 2


@dataclass(frozen=True, slots=True)
class ObservedImage:
    """An attachment that came inline: its digest, its bytes, and how many its base64 had."""

    digest: Digest
    size: int
    base64_bytes: int


@dataclass(frozen=True, slots=True)
class ObservedMessage:
    """One message.

    `own` names it alone. `json_bytes` is its length as it came, written compactly, `ref_bytes` its
    length in ref form. `is_telling` says that it is not met twice by chance.
    """

    own: bytes
    json_bytes: int
    ref_bytes: int
    is_telling: bool
    images: tuple[ObservedImage, ...]


@dataclass(frozen=True, slots=True)
class ObservedTurn:
    """One request's list of messages.

    `chain` has the digest of the list after each message, or nothing where RFC 8785 cannot express
    it. `parent` is what an envelope continued. `rest_bytes` is the length of the body without the
    list.
    """

    dialect: str
    messages_key: str
    parent: Digest | None
    is_envelope: bool
    chain: Sequence[Digest]
    messages: Sequence[ObservedMessage]
    rest_bytes: int

    def envelope_bytes(self, start: int) -> int:
        """Return the length of the body with which a client appends the messages from `start` on.

        A list without a chain goes whole, in ref form.
        """
        sent = self.messages[start:] if self.chain else self.messages
        if self.chain:
            parent = self.chain[start - 1] if start else None
            frame: JsonObject = {ENVELOPE_KEY: Envelope(parent, [], {}).to_json()}
        else:
            frame = {self.messages_key: []}
        commas = max(len(sent) - 1, 0) + (self.rest_bytes > _BRACES)
        length = len(encode_json(frame)) - _BRACES + self.rest_bytes
        return length + sum(message.ref_bytes for message in sent) + commas


def question_bytes(count: int) -> int:
    """Return the length of the bodies with which a client asks which of `count` blobs are missing."""
    whole, rest = divmod(count, MAX_DIGESTS)
    return whole * _question(MAX_DIGESTS) + (_question(rest) if rest else 0)


def read_turn(raw: bytes, dialect: Dialect, limits: TurnLimits) -> ObservedTurn | None:
    """Read a request body, inflated; None where it is no turn that could be kept.

    Takes some milliseconds a megabyte, so it belongs in a thread.
    """
    try:
        parsed = parse_request(raw, dialect, limits)
        listed = (
            parsed.envelope.append if parsed.envelope else parsed.body.get(dialect.messages_key)
        )
        if not isinstance(listed, list) or not (listed or parsed.envelope):
            return None
        form = ref_form(dialect, listed)
    except (DaemonError, ProtocolError):
        return None
    parent = parsed.envelope.parent if parsed.envelope else None
    left_out = {dialect.messages_key, ENVELOPE_KEY}
    rest = {key: value for key, value in parsed.body.items() if key not in left_out}
    return ObservedTurn(
        dialect=dialect.name,
        messages_key=dialect.messages_key,
        parent=parent,
        is_envelope=parsed.envelope is not None,
        chain=_chain(dialect, form.messages, parent),
        messages=_messages(listed, form.messages, form.inline),
        rest_bytes=len(encode_json(rest)),
    )


def _question(count: int) -> int:
    digests = (prompt_root(""),) * count
    return len(MissingRequest(digests=digests).model_dump_json())


def _chain(dialect: Dialect, messages: Sequence[Json], parent: Digest | None) -> list[Digest]:
    try:
        return prompt_digests(dialect.name, messages, parent)
    except PromptDigestError:
        return []


def _messages(
    sent: Sequence[Json], dehydrated: Sequence[Json], inline: Sequence[InlineBlob]
) -> list[ObservedMessage]:
    images: list[list[ObservedImage]] = [[] for _ in sent]
    for blob in inline:
        text = blob.found.text
        length = len(text) - blob.found.start
        images[blob.message].append(ObservedImage(blob.digest, _size(length, text[-2:]), length))
    return [
        _message(whole, short, tuple(of))
        for whole, short, of in zip(sent, dehydrated, images, strict=True)
    ]


def _message(whole: Json, short: Json, images: tuple[ObservedImage, ...]) -> ObservedMessage:
    text = encode_json(short)
    return ObservedMessage(
        own=hashlib.sha256(text).digest(),
        json_bytes=len(encode_json(whole)) if images else len(text),
        ref_bytes=len(text),
        is_telling=bool(images) or len(text) >= _TELLING_BYTES,
        images=images,
    )


def _size(length: int, end: str) -> int:
    """Return how many bytes strict base64 of this length stands for (RFC 4648 section 4)."""
    return length // 4 * 3 - end.count("=")
