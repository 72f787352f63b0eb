"""One request, decided: what it asks for, which blobs it names, what goes upstream.

Everything here is synchronous and touches no I/O; `gateway.py` awaits between the steps.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from coatcheck.protocol import (
    ENVELOPE_KEY,
    Dialect,
    Digest,
    FoundFileId,
    FoundInline,
    FoundPointer,
    FoundRef,
    Json,
    JsonObject,
    MalformedRequestError,
    Slot,
    copy_json,
    decode_json,
    dotted,
    framed,
    is_own_key,
    may_be_field,
    messages_in,
    put_back,
    with_framed,
)

from .errors import (
    BlobsNotFoundError,
    FieldsNotFoundError,
    RequestRefusedError,
    TooLargeError,
)
from .parsed_request import MARKS_BEFORE_VALUES, ParsedRequest, TurnLimits
from .source import Resolved
from .splice import Filling


@dataclass(frozen=True, slots=True)
class LargeValue:
    """A value of a body beside its messages, and the blobs that it names."""

    key: str
    value: Json
    blobs: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class Recalled:
    """What was kept of what an envelope names: JSON texts, the messages' oldest first."""

    messages: Sequence[str] = ()
    fields: Mapping[str, str] = field(default_factory=dict[str, str])

    def texts(self) -> Iterator[str]:
        """Yield all of them."""
        yield from self.messages
        yield from self.fields.values()


@dataclass(frozen=True, slots=True)
class Turn:
    """A request with its whole message list.

    `slots` are the attachments of all messages. `appended` are the messages that the client sent
    now, `start` how many stand before them; `parent` is the digest of those, None when there are
    none. `origins` are the authorities whose `/v1/blobs/` URLs were read as refs. `size` is the
    length of all the JSON that it was read from, about in bytes. `absent` are the fields that it
    names and that are not kept: their values are not in the body.
    """

    size: int
    body: JsonObject
    slots: Sequence[Slot]
    parent: Digest | None
    appended: Sequence[Json]
    start: int
    origins: Collection[str]
    named_fields: Collection[str] = ()
    """The keys whose values were named by their digests, and are in the body now."""
    absent: Mapping[str, Digest] = field(default_factory=dict[str, Digest])

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

    def copy_beside(self, dialect: Dialect) -> list[LargeValue]:
        """Copy the values beside the messages that the client sent now and that may be fields."""
        named: dict[str, list[Digest]] = {}
        for slot in self.slots:
            if (digest := named_digest(slot)) and isinstance(slot.path[0], str):
                named.setdefault(slot.path[0], []).append(digest)
        beside = framed(dialect, self.body)
        whole = (
            (key, put_back(value))
            for key, value in beside.items()
            if not (key in self.named_fields or is_own_key(key, dialect))
        )
        return [
            LargeValue(key, value, tuple(dict.fromkeys(named.get(key, ()))))
            for key, value in whole
            if may_be_field(value)
        ]


def build_turn(
    parsed: ParsedRequest,
    recalled: Recalled,
    dialect: Dialect,
    origins: Collection[str],
    limits: TurnLimits,
) -> Turn:
    """Join what was kept with what was sent, and walk it. Fields that were not kept are left out.

    Raises:
        RequestRefusedError: a message is malformed; the path indexes the joined list.
        TooLargeError: with what was kept there are too many values, or attachments.
    """
    kept_values = sum(text.count(mark) for text in recalled.texts() for mark in MARKS_BEFORE_VALUES)
    limits.bound_values(parsed.values + kept_values)
    joined = _join(parsed, recalled, dialect)
    body = joined.body
    try:
        slots = [*dialect.walk(joined.messages, origins), *dialect.walk_beside(body, origins)]
    except MalformedRequestError as error:
        raise RequestRefusedError(str(error), error.code, error.path) from error
    if len(slots) > limits.max_attachments:
        raise TooLargeError(
            "attachments", "too_many_attachments", max_attachments=limits.max_attachments
        )
    envelope = parsed.envelope
    return Turn(
        size=parsed.size + sum(map(len, recalled.texts())),
        body=body,
        slots=slots,
        parent=envelope.parent if envelope else None,
        appended=joined.appended,
        start=len(recalled.messages),
        origins=origins,
        named_fields=tuple(recalled.fields),
        absent=joined.absent,
    )


def fill(
    turn: Turn, resolved: Mapping[Digest, Resolved], files: Mapping[str, Digest]
) -> list[Filling]:
    """Decide what goes into each slot that names a blob; `files` says what file ids name.

    Raises:
        FieldsNotFoundError: fields are not kept; it lists them, and the blobs that are not held.
        BlobsNotFoundError: blobs are not held; it lists all of them, each place once.
    """
    fillings: list[Filling] = []
    missing: list[dict[str, str]] = []
    for slot in turn.slots:
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
    if turn.absent:
        raise FieldsNotFoundError(turn.absent, missing)
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


@dataclass(frozen=True, slots=True)
class _Joined:
    """A body with its whole list; `appended` are the messages that were sent now."""

    body: JsonObject
    messages: Json
    appended: Sequence[Json]
    absent: Mapping[str, Digest]


def _join(parsed: ParsedRequest, recalled: Recalled, dialect: Dialect) -> _Joined:
    """Put what was kept where the envelope stands; a body without one is whole."""
    key, envelope = dialect.messages_key, parsed.envelope
    if envelope is None:
        messages = messages_in(dialect, parsed.body)
        return _Joined(parsed.body, messages, dialect.list_messages(messages) or [], {})
    before = decode_json(f"[{','.join(recalled.messages)}]")
    assert isinstance(before, list)
    messages = [*before, *envelope.append]
    fields = {
        name: decode_json(recalled.fields[name])
        for name in envelope.fields
        if name in recalled.fields
    }
    absent = {name: digest for name, digest in envelope.fields.items() if name not in fields}
    body = _without_envelope(parsed.body, {**fields, key: messages}, dialect)
    return _Joined(body, messages, envelope.append, absent)


def _media_type(slot: Slot, blob: Resolved) -> str:
    match slot.found:
        case FoundRef(ref):
            return ref.media_type or blob.media_type
        case FoundPointer(media_type=media_type):
            return media_type or blob.media_type
        case _:
            return blob.media_type


def _without_envelope(body: JsonObject, entries: JsonObject, dialect: Dialect) -> JsonObject:
    """Put entries where the envelope stood; an empty list beside it goes.

    Where they belong within a part of the body, they take the place of an empty list there, or go last.
    """
    key = dialect.messages_key
    if dialect.provider.frame is None:
        return _replaced(body, ENVELOPE_KEY, entries, dropped=key)
    inner = framed(dialect, body)
    whole = _replaced({**inner, key: inner.get(key)}, key, entries)
    outer = {name: value for name, value in body.items() if name != ENVELOPE_KEY}
    return with_framed(dialect, outer, whole)


def _replaced(
    holder: JsonObject, place: str, entries: JsonObject, dropped: str | None = None
) -> JsonObject:
    whole: JsonObject = {}
    for name, value in holder.items():
        if name == place:
            whole |= entries
        elif name != dropped:
            whole[name] = value
    return whole
