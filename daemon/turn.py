"""One request, decided: what it asks for, which blobs it names, what goes upstream.

Everything here is synchronous and touches no I/O; `gateway.py` awaits between the steps.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from coatcheck.protocol import (
    ENVELOPE_KEY,
    Dialect,
    Digest,
    Envelope,
    FoundFileId,
    FoundInline,
    FoundPointer,
    FoundRef,
    Json,
    JsonError,
    JsonObject,
    MalformedRequestError,
    ShortJson,
    Slot,
    Whole,
    copy_json,
    decode_json,
    dotted,
    put_back,
    read_envelope,
    shorten_json,
)

from .errors import (
    BlobsNotFoundError,
    FieldsNotFoundError,
    RequestRefusedError,
    TooLargeError,
)
from .source import Resolved
from .splice import Filling

# One of these stands before every value but the first of an object and the outermost one. Counting
# them takes 1 ms a megabyte, and counts those inside strings too.
_BEFORE_VALUES = ",[{"
_BYTES_BEFORE_VALUES = _BEFORE_VALUES.encode()


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """Bounds of one turn beside its bytes."""

    max_values: int = 4_000_000
    """JSON values; each takes up to 250 bytes of memory. A body of text has one for some 50 bytes."""

    max_attachments: int = 10_000
    """Attachments of all messages, kept ones included: more than any provider takes."""


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A request body, read: its JSON object, its model, its envelope if it has one.

    `text` is what it was read from, `values` about how many JSON values it has. Without an envelope
    the body may have a `TakenText` in place of a string.
    """

    text: ShortJson
    values: int
    body: JsonObject
    model: str
    envelope: Envelope | None

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.text.whole)

    def put_back(self) -> "ParsedRequest":
        """Return it with every string whole."""
        return replace(self, body=_whole(self.body))


@dataclass(frozen=True, slots=True)
class Turn:
    """A request with its whole message list.

    `slots` are the attachments of all messages. `appended` are the messages that the client sent
    now, `start` how many stand before them; `parent` is the digest of those, None when there are
    none. `origins` are the authorities whose `/v1/blobs/` URLs were read as refs. `size` is the
    length of all the JSON that it was read from, about in bytes.
    """

    size: int
    body: JsonObject
    slots: Sequence[Slot]
    parent: Digest | None
    appended: Sequence[Json]
    start: int
    origins: Collection[str]

    @property
    def digests(self) -> set[Digest]:
        """Every blob that the messages name."""
        return {digest for slot in self.slots if (digest := named_digest(slot))}

    @property
    def file_ids(self) -> set[str]:
        """Every file of ours that the messages name."""
        return {slot.found.file_id for slot in self.slots if isinstance(slot.found, FoundFileId)}

    @property
    def has_inline(self) -> bool:
        """Whether any attachment carries its own bytes."""
        return any(isinstance(slot.found, FoundInline) for slot in self.slots)

    def copy_appended(self, *, puts_back: bool) -> list[Json]:
        """Copy what the client sent now, since hydration writes into the messages.

        With `puts_back` every string is whole.
        """
        copy = put_back if puts_back else copy_json
        return [copy(message) for message in self.appended]


def parse_request(
    raw: Whole, dialect: Dialect, limits: TurnLimits, path_model: str | None = None
) -> ParsedRequest:
    """Read a request body. `path_model` is the model that its path names.

    Raises:
        RequestRefusedError: it is not JSON, no object, has no model, or a malformed envelope.
        TooLargeError: it holds too many values.
    """
    short = shorten_json(raw)
    values = _count_values(short.text)
    _bound_values(values, limits)
    try:
        body = decode_json(short, keeps_taken=True)
    except JsonError as error:
        raise RequestRefusedError(str(error), error.code) from error
    if not isinstance(body, dict):
        raise RequestRefusedError("the body is not a JSON object", "request_malformed")
    key = dialect.model_key
    model = path_model or "" if key is None else body.get(key)
    if not isinstance(model, str):
        raise RequestRefusedError(
            "a model is required, as a string", "request_malformed", key or ""
        )
    if ENVELOPE_KEY in body:
        body = _whole(body)
    try:
        envelope = read_envelope(body, dialect.messages_key)
    except MalformedRequestError as error:
        raise RequestRefusedError(str(error), error.code, error.path) from error
    if envelope and envelope.fields:
        raise FieldsNotFoundError(envelope.fields)
    return ParsedRequest(short, values, body, model, envelope)


def loose_model(raw: Whole, dialect: Dialect, path_model: str | None) -> str:
    """Return the model of a request that breaks our rules; empty when it cannot be read."""
    if dialect.model_key is None:
        return path_model or ""
    try:
        body: Json = json.loads(raw[:])
    except (ValueError, RecursionError):
        return ""
    model = body.get(dialect.model_key) if isinstance(body, dict) else None
    return model if isinstance(model, str) else ""


def build_turn(
    parsed: ParsedRequest,
    before: Sequence[str],
    dialect: Dialect,
    origins: Collection[str],
    limits: TurnLimits,
) -> Turn:
    """Join what was kept (`before`: JSON texts, oldest first) with what was sent, and walk it.

    Raises:
        RequestRefusedError: a message is malformed; the path indexes the joined list.
        TooLargeError: with what was kept there are too many values, or attachments.
    """
    kept_values = sum(text.count(mark) for text in before for mark in _BEFORE_VALUES)
    _bound_values(parsed.values + kept_values, limits)
    key = dialect.messages_key
    start = len(before)
    if parsed.envelope is None:
        body, parent = parsed.body, None
        messages = body.get(key)
        appended = dialect.list_messages(messages) or []
    else:
        kept = decode_json(f"[{','.join(before)}]")
        assert isinstance(kept, list)
        appended, parent = parsed.envelope.append, parsed.envelope.parent
        messages = [*kept, *appended]
        body = _with_list(parsed.body, key, messages)
    try:
        slots = [*dialect.walk(messages, origins), *dialect.walk_beside(body, origins)]
    except MalformedRequestError as error:
        raise RequestRefusedError(str(error), error.code, error.path) from error
    if len(slots) > limits.max_attachments:
        raise TooLargeError(
            "attachments", "too_many_attachments", max_attachments=limits.max_attachments
        )
    size = parsed.size + sum(map(len, before))
    return Turn(size, body, slots, parent, appended, start, origins)


def fill(
    slots: Sequence[Slot], resolved: Mapping[Digest, Resolved], files: Mapping[str, Digest]
) -> list[Filling]:
    """Decide what goes into each slot that names a blob; `files` says what file ids name.

    Raises:
        BlobsNotFoundError: some are not held; it lists all of them, each place once.
    """
    fillings: list[Filling] = []
    missing: list[dict[str, str]] = []
    for slot in slots:
        found = slot.found
        if isinstance(found, FoundFileId):
            named = files.get(found.file_id)
            blob = None if named is None else resolved.get(named)
            if blob is None:
                missing.append({"file_id": found.file_id, "path": dotted(slot.path)})
            else:
                fillings.append(Filling(slot, blob, blob.media_type))
        elif digest := named_digest(slot):
            blob = resolved.get(digest)
            if blob is None or (
                isinstance(found, FoundPointer) and found.pointer.size != blob.size
            ):
                missing.append({"digest": str(digest), "path": dotted(slot.path)})
            else:
                fillings.append(Filling(slot, blob, _media_type(slot, blob)))
    if missing:
        raise BlobsNotFoundError(missing)
    return fillings


def named_digest(slot: Slot) -> Digest | None:
    """Return the digest that an attachment names by ref or pointer."""
    match slot.found:
        case FoundRef(ref):
            return ref.digest
        case FoundPointer(pointer):
            return pointer.digest
        case _:
            return None


def _whole(body: JsonObject) -> JsonObject:
    return {key: put_back(value) for key, value in body.items()}


def _count_values(text: bytes) -> int:
    return len(text) - len(text.translate(None, _BYTES_BEFORE_VALUES))


def _bound_values(count: int, limits: TurnLimits) -> None:
    if count > limits.max_values:
        raise TooLargeError("JSON values", "too_many_values", max_values=limits.max_values)


def _media_type(slot: Slot, blob: Resolved) -> str:
    match slot.found:
        case FoundRef(ref):
            return ref.media_type or blob.media_type
        case FoundPointer(media_type=media_type):
            return media_type or blob.media_type
        case _:
            return blob.media_type


def _with_list(body: JsonObject, key: str, messages: list[Json]) -> JsonObject:
    """Put the list where the envelope stood; an empty list beside it goes."""
    return {
        key if name == ENVELOPE_KEY else name: messages if name == ENVELOPE_KEY else value
        for name, value in body.items()
        if name != key
    }
