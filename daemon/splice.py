"""Hydration: a parsed request becomes a body with blobs spliced in, or with what stands for them.

Each attachment is given a stand-in text, JSON is written with it, and cut at the stand-ins. A
stand-in carries 128 random bits, so nothing a client sends can be one.

Where the client sent the whole list, only the parts that hold attachments are written anew, as the
client writes JSON; all else goes on as it came. So a turn's body begins with what that before it said,
whether or not anything was replaced in that: providers cache prompts by their beginning.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from coatcheck.protocol import (
    DeclaringSlot,
    Digest,
    FoundInline,
    Json,
    JsonObject,
    Path,
    ShortJson,
    Slot,
    TakenText,
    encode_json,
    find_spans,
)

from .body import Base64Of
from .form import Form
from .source import Resolved

Segment = bytes | memoryview | Base64Of

# How clients write JSON: separators, and whether they escape what is not ASCII.
_SPELLINGS = (
    ((",", ":"), False),
    ((", ", ": "), True),
    ((",", ":"), True),
    ((", ", ": "), False),
)


@dataclass(frozen=True, slots=True)
class Filling:
    """What goes into a slot: a blob, and the media type to present it as.

    A variant's type stands in place of one that was declared for the original. Its bytes go there,
    unless there is another `form`.
    """

    slot: Slot
    blob: Resolved
    media_type: str
    is_variant: bool = False
    form: Form | None = None
    original: Digest | None = None
    """What a variant was made of."""

    @property
    def is_there(self) -> bool:
        """Whether the bytes stand in the slot as the client wrote them."""
        return not self.is_variant and isinstance(self.slot.found, FoundInline)


def splice(body: JsonObject, fillings: Sequence[Filling], nonce: bytes) -> list[Segment]:
    """Put every filling into its slot, which changes `body`; return the text in segments.

    `nonce` is 16 random bytes. Without fillings there is one segment.
    """
    stand_ins = _StandIns(fillings, nonce)
    return [*stand_ins.cut(encode_json(body))]


def splice_into(
    text: ShortJson, body: JsonObject, fillings: Sequence[Filling], nonce: bytes
) -> list[Segment]:
    """Do the same where `body` was read from `text`, which stays as it is around the parts.

    A `TakenText` stands in `body` for each string that was taken out of `text`.
    """
    short = text.text.decode()
    spans = find_spans(short, {filling.slot.path[:-1] for filling in fillings})
    ordered = sorted(spans.items(), key=lambda item: item[1])
    parts = [(at(body, path), short[start:end]) for path, (start, end) in ordered]
    spellings = [_spelling(part, written) for part, written in parts]
    stand_ins = _StandIns(fillings, nonce)
    segments: list[Segment] = []
    done = 0
    for (_, (start, end)), (part, _), spelling in zip(ordered, parts, spellings, strict=True):
        segments += text.restored(short[done:start].encode())
        segments += stand_ins.cut(_written(stand_ins.placed(part), spelling))
        done = end
    return [*segments, *text.restored(short[done:].encode())]


class _StandIns:
    """What stands in the slots until the text is written."""

    def __init__(self, fillings: Sequence[Filling], nonce: bytes) -> None:
        self._mark = f"@{nonce.hex()}:"
        self._stood_for: list[Base64Of | memoryview] = []
        for filling in fillings:
            blob, slot = filling.blob, filling.slot
            if filling.is_variant and isinstance(slot, DeclaringSlot):
                slot.declare(filling.media_type)
            if filling.form is None or (filling.form.has_bytes and not filling.is_there):
                base64 = Base64Of(blob.digest, blob.size, slot.is_url_safe)
                slot.put_inline(filling.media_type, self._stand_in(base64))
            if filling.form:
                filling.form.put(slot, filling.media_type)

    def placed(self, value: Json) -> Json:
        """Copy a value, with a stand-in for each base64 that was taken out of the client's text."""
        if isinstance(value, dict):
            return {key: self.placed(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.placed(item) for item in value]
        if isinstance(value, TakenText):
            return value.head + self._stand_in(value.content)
        return value

    def cut(self, text: bytes) -> Iterator[Segment]:
        """Yield a text with what its stand-ins stand for."""
        head, *tails = text.split(self._mark.encode())
        yield head
        for tail in tails:
            number, _, after = tail.partition(b"@")
            yield self._stood_for[int(number)]
            yield after

    def _stand_in(self, for_it: Base64Of | memoryview) -> str:
        self._stood_for.append(for_it)
        return f"{self._mark}{len(self._stood_for) - 1}@"


def at(body: JsonObject, path: Path) -> Json:
    """Return what stands at a path of a slot's, or above one."""
    value: Json = body
    for step in path:
        if isinstance(step, str):
            assert isinstance(value, dict)
            value = value[step]
        elif isinstance(value, list):  # else one value stands in place of a list
            value = value[step]
    return value


def _spelling(value: Json, written: str) -> int:
    """Return which of the spellings a client used; the first where it is none of them."""
    encoded = written.encode()
    fitting = (index for index in range(len(_SPELLINGS)) if _written(value, index) == encoded)
    return next(fitting, 0)


def _written(value: Json, spelling: int) -> bytes:
    separators, is_ascii = _SPELLINGS[spelling]
    if separators == (",", ":") and not is_ascii:
        return encode_json(value)
    return json.dumps(value, separators=separators, ensure_ascii=is_ascii).encode(
        "utf-8", "backslashreplace"
    )
