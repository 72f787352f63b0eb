"""A request body, shortened: what of it a server may have already, and what stands for that.

Decides and waits for nothing. What goes upstream in the end is the same JSON as the client's: what
would come back in other words stays as it is.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from coatcheck.protocol import (
    ENVELOPE_KEY,
    MAX_FIELDS,
    Dialect,
    Digest,
    Envelope,
    FoundInline,
    FoundRef,
    InlineBlob,
    Json,
    JsonObject,
    MalformedMessageError,
    NameBytes,
    PromptDigestError,
    Slot,
    comes_back,
    copy_json,
    encode_json,
    framed,
    inline_ref,
    is_own_key,
    may_be_field,
    messages_in,
    prompt_link,
    prompt_root,
    put_back,
    ref_form,
)

from .known import Computed, Known

_BESIDE = -1


@dataclass(frozen=True, slots=True)
class ShortBody:
    """A body whose messages are in ref form, as far as they come back from it.

    `inner` is the part of the `outer` body that has the messages under `key`: under `frame`, or all of it.
    `digests` has one for each message, or none at all where RFC 8785 cannot express the list: such a
    list goes without an envelope. The first `stop` messages may be named by their prompt. `inlines` are
    the bytes that refs stand for now; `message` of one beside the messages is negative. `fields` are the
    values beside the messages that a server keeps with them, by their digests.
    """

    outer: JsonObject
    frame: str | None
    inner: JsonObject
    key: str
    messages: Sequence[Json]
    digests: Sequence[Digest]
    stop: int
    inlines: Sequence[InlineBlob]
    fields: Mapping[str, Digest]

    def encode(self, start: int, named: Collection[str] = ()) -> bytes:
        """Return the JSON that appends the messages from `start` on to those before.

        `named` are the keys whose values go by their digests: of `fields`, where there are `digests`.
        """
        messages: list[Json] = [*self.messages]
        if not self.digests:
            return encode_json(self._framed(self._with({self.key: messages})))
        parent = self.digests[start - 1] if start else None
        fields = {name: self.fields[name] for name in named}
        envelope = Envelope(parent, messages[start:], fields).to_json()
        entry: JsonObject = {ENVELOPE_KEY: envelope}
        if self.frame is None:
            return encode_json(self._with(entry, named))
        return encode_json(self._framed(self._with({}, named)) | entry)

    def _with(self, entry: JsonObject, left_out: Collection[str] = ()) -> JsonObject:
        """Return the inner part with an entry where the messages stood."""
        written: JsonObject = {}
        for name, value in self.inner.items():
            if name not in left_out:
                written.update(entry if name == self.key else {name: value})
        return written

    def _framed(self, inner: JsonObject) -> JsonObject:
        return inner if self.frame is None else {**self.outer, self.frame: inner}

    def needed(self, start: int) -> list[InlineBlob]:
        """Return what a request needs that appends from `start` on: a kept prompt holds its blobs."""
        return [one for one in self.inlines if one.message == _BESIDE or one.message >= start]


def shorten(
    body: JsonObject, dialect: Dialect, known: Known, origins: Collection[str] = ()
) -> ShortBody | None:
    """Return a body shortened; None where it goes as it came. The body itself is not changed.

    `origins` are the authorities under which only the caller is known: URLs of blobs there become refs.
    Some milliseconds for a long conversation, and one for a megabyte of what was not met lately.

    Raises:
        MalformedMessageError: a message is not the dialect's.
    """
    key = dialect.messages_key
    messages = messages_in(dialect, body)
    if ENVELOPE_KEY in body or not isinstance(messages, list) or not messages:
        return None
    if origins:
        messages = _with_refs(messages, dialect, origins)
    form = ref_form(dialect, messages, (), known.name_bytes)
    lost = _that_do_not_come_back(messages, form.messages, form.inline, dialect)
    whole = [put_back(message) for message in form.messages]
    inlines = [inline for inline in form.inline if inline.message not in lost]
    beside, more = _beside(body, dialect, known.name_bytes)
    digests = _digests(whole, dialect, known.hashes)
    frame = dialect.provider.frame
    return ShortBody(
        {} if frame is None else _around(body, frame),
        frame,
        {name: beside.get(name) for name in framed(dialect, body)},
        key,
        [put_back(messages[at]) if at in lost else one for at, one in enumerate(whole)],
        digests,
        min(lost, default=len(whole)),
        [*inlines, *more],
        _fields(beside, dialect, known.field_digests) if digests else {},
    )


def _around(body: JsonObject, frame: str) -> JsonObject:
    return {name: None if name == frame else put_back(value) for name, value in body.items()}


def _that_do_not_come_back(
    messages: Sequence[Json],
    forms: Sequence[Json],
    inlines: Sequence[InlineBlob],
    dialect: Dialect,
) -> set[int]:
    """Return which messages go as they came.

    A server keeps ref form, so that from the first of them on none may be named by its prompt.
    """
    shown = {inline.digest: inline.sniffed for inline in inlines}
    return {
        index
        for index in {inline.message for inline in inlines}
        if not comes_back(partial(_walk_one, dialect), messages[index], forms[index], shown)
    }


def _walk_one(dialect: Dialect, message: Json) -> list[Slot]:
    return dialect.walk([message])


def _with_refs(messages: list[Json], dialect: Dialect, origins: Collection[str]) -> list[Json]:
    """Return messages with refs in place of URLs that only we understand."""
    copied = [copy_json(message) for message in messages]
    paths = {slot.path for slot in dialect.walk(copied)}
    for slot in dialect.walk(copied, origins):
        if slot.path not in paths and isinstance(slot.found, FoundRef):
            slot.put_ref(slot.found.ref)
    return copied


def _beside(
    request: JsonObject, dialect: Dialect, name: NameBytes
) -> tuple[JsonObject, list[InlineBlob]]:
    """Return what stands beside the messages with refs in place of bytes, and what these were."""
    inner = framed(dialect, request)
    body = {key: value for key, value in inner.items() if key != dialect.messages_key}
    whole = {key: put_back(value) for key, value in body.items()}
    try:
        if not any(isinstance(slot.found, FoundInline) for slot in dialect.walk_beside(body)):
            return whole, []
        copied = {key: copy_json(value) for key, value in body.items()}
        inlines: list[InlineBlob] = []
        for slot in dialect.walk_beside(copied):
            found = slot.found
            if isinstance(found, FoundInline) and (named := name(found)) is not None:
                slot.put_ref(inline_ref(found, named.digest, named.sniffed))
                inlines.append(InlineBlob(_BESIDE, named.digest, found, named.sniffed))
        shown = {inline.digest: inline.sniffed for inline in inlines}
        if not comes_back(partial(_walk_beside, dialect), body, copied, shown):
            return whole, []
    except MalformedMessageError:  # whoever reads it next says so
        return whole, []
    return {key: put_back(value) for key, value in copied.items()}, inlines


def _walk_beside(dialect: Dialect, body: Json) -> list[Slot]:
    return dialect.walk_beside(body) if isinstance(body, dict) else []


def _fields(
    beside: JsonObject, dialect: Dialect, digests: Computed[Digest | None]
) -> dict[str, Digest]:
    """Return what of the values a server keeps; see `fields_of`."""
    fields: dict[str, Digest] = {}
    for key, value in beside.items():
        if len(fields) < MAX_FIELDS and not is_own_key(key, dialect) and may_be_field(value):
            digest = digests.of(value)
            fields |= {} if digest is None else {key: digest}
    return fields


def _digests(messages: Sequence[Json], dialect: Dialect, hashes: Computed[bytes]) -> list[Digest]:
    digests: list[Digest] = []
    current = prompt_root(dialect.name)
    try:
        for message in messages:
            current = prompt_link(current, hashes.of(message))
            digests.append(current)
    except PromptDigestError:
        return []
    return digests
