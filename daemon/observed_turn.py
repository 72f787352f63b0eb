"""What is kept of an observed turn: digests and lengths, no text and no image.

The lengths say what a Coatcheck client would have sent instead. They are taken from what the
protocol's own functions write, so that the figures hold when the client comes.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from coatcheck.protocol import (
    ENVELOPE_KEY,
    LEADING_KEYS,
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
    canonical_json,
    copy_json,
    encode_json,
    fields_of,
    framed,
    messages_in,
    prompt_digests,
    prompt_root,
    ref_form,
    with_framed,
)

from .errors import DaemonError, TooLargeError
from .parsed_request import ParsedRequest, TurnLimits, parse_request

# A message this long, or one with an image, is not met twice by chance.
_TELLING_BYTES = 200
_BRACES = 2


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """What is read of a turn for the report; one beyond it is counted in bytes only.

    They bound how long reading holds the interpreter at once, some 100 ms at worst, and what one
    turn can write.
    """

    max_bytes: int = 32 * 1024 * 1024
    """Inflated. More than most providers take; parsing takes 1 ms a megabyte and cannot pause."""

    max_values: int = 100_000
    """JSON values, some 5 MB of text: parsing them takes 30 ms."""

    max_escapes: int = 1_000_000
    """Backslashes, in strings: 30 ms."""

    max_messages: int = 5_000
    """Each leaves a mark on the disk."""

    max_images: int = 5_000
    """More than any provider takes."""


@dataclass(frozen=True, slots=True)
class SentTurn:
    """A request as it came: its messages, what they continue, and the other fields."""

    parent: Digest | None
    is_envelope: bool
    messages: list[Json]
    rest: JsonObject
    fields: Mapping[str, Digest] = field(default_factory=dict[str, Digest])
    """Values that the envelope names by their digests."""
    frame_bytes: int = 0
    """The length of the body as JSON without the part that has the messages; 0 where that is all of it."""

    def copy(self) -> "SentTurn":
        """Copy the messages, into which hydration writes."""
        return replace(self, messages=[copy_json(message) for message in self.messages])


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
    role: str = ""
    """As it says; empty where it says none."""


@dataclass(frozen=True, slots=True)
class ObservedField:
    """A large value beside the messages: its key, its digest, the length of both as JSON."""

    key: str
    digest: Digest
    json_bytes: int


@dataclass(frozen=True, slots=True)
class ObservedTurn:
    """One request's list of messages.

    `chain` has the digest of the list after each message, or nothing where RFC 8785 cannot express
    it. `parent` is what an envelope continued. `rest_bytes` is the length of the body without the
    list, which has `rest_count` keys; `fields` are those of them that an envelope may name.
    """

    dialect: str
    messages_key: str
    parent: Digest | None
    is_envelope: bool
    chain: Sequence[Digest]
    messages: Sequence[ObservedMessage]
    rest_bytes: int
    rest_count: int
    fields: Sequence[ObservedField]
    leading: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """Digests of the values that a model reads before the messages, by their keys."""

    def envelope_bytes(self, start: int, known: Collection[str] = ()) -> int:
        """Return the length of the body with which a client appends the messages from `start` on.

        It names the `known` fields. A list without a chain goes whole, in ref form, and so do its fields.
        """
        named = [one for one in self.fields if self.chain and one.key in known]
        rest_bytes = self.rest_bytes - sum(one.json_bytes for one in named)
        rest_bytes -= min(len(named), self.rest_count - 1)  # commas
        sent = self.messages[start:] if self.chain else self.messages
        if self.chain:
            parent = self.chain[start - 1] if start else None
            fields = {one.key: one.digest for one in named}
            frame: JsonObject = {ENVELOPE_KEY: Envelope(parent, [], fields).to_json()}
        else:
            frame = {self.messages_key: []}
        commas = max(len(sent) - 1, 0) + (rest_bytes > _BRACES)
        length = len(encode_json(frame)) - _BRACES + rest_bytes
        return length + sum(message.ref_bytes for message in sent) + commas


def question_bytes(count: int) -> int:
    """Return the length of the bodies with which a client asks which of `count` blobs are missing."""
    whole, rest = divmod(count, MAX_DIGESTS)
    return whole * _question(MAX_DIGESTS) + (_question(rest) if rest else 0)


def parse_turn(raw: bytes, dialect: Dialect, limits: ReadLimits) -> SentTurn | None:
    """Parse a request body, inflated; None where it is no turn. A few milliseconds for each MB.

    Raises:
        TooLargeError: it has more values or escapes than are read.
    """
    if raw.count(b"\\") > limits.max_escapes:
        raise TooLargeError("escapes", "too_many_values", max_escapes=limits.max_escapes)
    bounds = TurnLimits(max_values=limits.max_values)
    try:
        return sent_turn(parse_request(raw, dialect, bounds).put_back(), dialect)
    except TooLargeError:
        raise
    except DaemonError:
        return None


def sent_turn(parsed: ParsedRequest, dialect: Dialect) -> SentTurn | None:
    """Return the messages of a request, apart from the rest of it; None where it has no list."""
    envelope = parsed.envelope
    whole = dialect.list_messages(messages_in(dialect, parsed.body))
    listed = envelope.append if envelope else whole
    if listed is None or not (listed or envelope):
        return None
    left_out = {dialect.messages_key, ENVELOPE_KEY}
    beside = framed(dialect, parsed.body).items()
    rest = {key: value for key, value in beside if key not in left_out}
    around = {key: value for key, value in parsed.body.items() if key != ENVELOPE_KEY}
    frame = with_framed(dialect, around, {})
    return SentTurn(
        envelope.parent if envelope else None,
        envelope is not None,
        listed,
        rest,
        envelope.fields if envelope else {},
        len(encode_json(frame)) - _BRACES,
    )


def measure(
    sent: SentTurn, dialect: Dialect, limits: ReadLimits, step: Callable[[], None]
) -> ObservedTurn | None:
    """Return what is kept of a turn; None where its messages are malformed.

    `step` is called before each message: what it raises ends the reading.

    Raises:
        TooLargeError: it has more messages or images than are read.
    """
    if len(sent.messages) > limits.max_messages:
        raise TooLargeError("messages", "too_many_values", max_messages=limits.max_messages)
    chain: list[Digest] = []
    is_chained = True
    messages: list[ObservedMessage] = []
    image_count = 0
    for message in sent.messages:
        step()
        try:
            form = ref_form(dialect, [message])
        except ProtocolError:
            return None
        (short,) = form.messages
        measured = _message(message, short, tuple(map(_image, form.inline)))
        messages.append(measured)
        image_count += len(measured.images)
        if image_count > limits.max_images:
            raise TooLargeError("images", "too_many_attachments", max_images=limits.max_images)
        step()
        is_chained = is_chained and _prolong(chain, dialect, short, sent.parent)
    step()
    return ObservedTurn(
        dialect=dialect.name,
        messages_key=dialect.messages_key,
        parent=sent.parent,
        is_envelope=sent.is_envelope,
        chain=chain if is_chained else [],
        messages=messages,
        rest_bytes=len(encode_json(sent.rest)) + sent.frame_bytes,
        rest_count=len(sent.rest),
        fields=[
            ObservedField(one.key, one.digest, len(encode_json({one.key: one.value})) - _BRACES)
            for one in fields_of(sent.rest, dialect)
        ],
        leading=_leading(sent, dialect),
    )


def read_turn(raw: bytes, dialect: Dialect, limits: ReadLimits) -> ObservedTurn | None:
    """Read a request body at one go; see `parse_turn` and `measure`.

    Raises:
        TooLargeError: it goes beyond the limits.
    """
    sent = parse_turn(raw, dialect, limits)
    return None if sent is None else measure(sent, dialect, limits, lambda: None)


def _leading(sent: SentTurn, dialect: Dialect) -> dict[str, bytes]:
    keys = ("model", *LEADING_KEYS.get(dialect.name, ()))
    found = {key: _digest(sent.rest[key]) for key in keys if key in sent.rest}
    return found | {key: sent.fields[key].raw for key in keys if key in sent.fields}


def _digest(value: Json) -> bytes:
    """Return a field's digest, of whatever size; or one of its text, where RFC 8785 has no form for it."""
    try:
        return hashlib.sha256(canonical_json(value)).digest()
    except PromptDigestError:
        return hashlib.sha256(encode_json(value)).digest()


def _question(count: int) -> int:
    digests = (prompt_root(""),) * count
    return len(MissingRequest(digests=digests).model_dump_json())


def _prolong(chain: list[Digest], dialect: Dialect, message: Json, parent: Digest | None) -> bool:
    """Add the digest after one more message; False where RFC 8785 cannot express it."""
    before = chain[-1] if chain else parent
    try:
        chain += prompt_digests(dialect.name, [message], before)
    except PromptDigestError:
        return False
    return True


def _image(blob: InlineBlob) -> ObservedImage:
    length = blob.found.length
    return ObservedImage(blob.digest, _size(length, blob.found.text[-2:]), length)


def _message(whole: Json, short: Json, images: tuple[ObservedImage, ...]) -> ObservedMessage:
    text = encode_json(short)
    role = whole.get("role") if isinstance(whole, dict) else None
    return ObservedMessage(
        own=hashlib.sha256(text).digest(),
        json_bytes=len(encode_json(whole)) if images else len(text),
        ref_bytes=len(text),
        is_telling=bool(images) or len(text) >= _TELLING_BYTES,
        images=images,
        role=role if isinstance(role, str) else "",
    )


def _size(length: int, end: str) -> int:
    """Return how many bytes strict base64 of this length stands for (RFC 4648 section 4)."""
    return length // 4 * 3 - end.count("=")
