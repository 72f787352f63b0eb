"""Answers with refs, as an SDK is to see them: with the bytes where the refs stand.

Where a turn asks for an image, so asks its wrapper for refs in the answer (`Coatcheck-Answer-Refs`). Each
blob is fetched once for an answer, raw and verified, however often a stream repeats it; the next turn's copy
of it is a ref again. What has no ref passes as it came.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import pybase64

from coatcheck.protocol import (
    ANSWER_FORMS,
    SNIFF_BYTES,
    AnswerError,
    Dialect,
    Digest,
    FoundRef,
    Json,
    JsonError,
    JsonObject,
    ProtocolError,
    Slot,
    SseError,
    SseReader,
    altchars,
    decode_json,
    encode_json,
    event_end,
    event_object,
    replace_data,
    sniff,
    split_events,
)

from ..exchange import Exchange, Work
from ..fetch import get

_REF = b'"blob:sha256:'
_OCTET_STREAM = "application/octet-stream"


def asks_for_images(dialect: Dialect, body: JsonObject) -> bool:
    """Whether an answer may have images: others are not asked for refs, and nothing of them is held."""
    match dialect.name:
        case "openai.responses":
            tools = body.get("tools")
            listed = tools if isinstance(tools, list) else []
            return any(
                isinstance(tool, dict) and tool.get("type") == "image_generation" for tool in listed
            )
        case "openai.chat":
            return "image" in _texts(body.get("modalities"))
        case "gemini.generate":
            config = body.get("generationConfig", body.get("generation_config"))
            settings = config if isinstance(config, dict) else {}
            wanted = settings.get("responseModalities", settings.get("response_modalities"))
            return "image" in _texts(wanted)
        case _:
            return False


class Restoring:
    """Puts the bytes back into one answer. Holds what it fetched, in base64, until it goes."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._form = ANSWER_FORMS[dialect.name]
        self._fetched: dict[Digest, bytes] = {}

    def whole(self, body: bytes) -> Exchange[bytes]:
        """Return a whole answer with its bytes.

        Raises:
            ClientError: what a ref names cannot be fetched.
        """
        if _REF not in body:
            return body
        value = yield from Work(partial(_read, body))
        if value is None or not (yield from self._put_back(value)):
            return body
        return (yield from Work(partial(encode_json, value)))

    def event(self, event: bytes) -> Exchange[bytes]:
        """Return an event with its bytes.

        Raises:
            ClientError: what a ref names cannot be fetched.
        """
        value = yield from Work(partial(_value_of, event))
        if value is None or not (yield from self._put_back(value)):
            return event
        return replace_data(event, (yield from Work(partial(encode_json, value))))

    def _put_back(self, value: Json) -> Exchange[bool]:
        slots = yield from Work(partial(self._slots, value))
        for slot, ref in slots:
            data = self._fetched.get(ref.ref.digest)
            if data is None:
                data = yield from get(ref.ref.digest)
                self._fetched[ref.ref.digest] = data
            yield from Work(partial(_put_inline, slot, ref, data))
        return bool(slots)

    def _slots(self, value: Json) -> Sequence[tuple[Slot, FoundRef]]:
        try:
            carried = self._dialect.walk(self._form.carried(value))
            slots = [*carried, *self._form.passing(value)]
        except ProtocolError:
            return ()
        return [(slot, slot.found) for slot in slots if isinstance(slot.found, FoundRef)]


class Events:
    """Cuts a stream behind its events. Holds what is incomplete."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._seen = 0

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bool]]:
        """Take the next bytes; yield what is complete, and whether it has a ref."""
        self._held += data
        end = event_end(self._held, max(0, self._seen - 3))
        if end:
            whole = bytes(self._held[:end])
            del self._held[:end]
            if _REF not in whole:
                yield whole, False
            else:
                for event in split_events(whole):
                    yield event, _REF in event
        self._seen = len(self._held)

    def end(self) -> bytes:
        """Return what is left."""
        held = bytes(self._held)
        self._held.clear()
        return held


def _put_inline(slot: Slot, found: FoundRef, data: bytes) -> None:
    media_type = found.ref.media_type or sniff(data[:SNIFF_BYTES]) or _OCTET_STREAM
    slot.put_inline(media_type, pybase64.b64encode(data, altchars(slot.is_url_safe)).decode())


def _read(body: bytes) -> Json:
    try:
        return decode_json(body)
    except JsonError:
        return None


def _value_of(event: bytes) -> JsonObject | None:
    try:
        found = SseReader().feed(event)
        return event_object(found[0]) if len(found) == 1 else None
    except (AnswerError, SseError):
        return None


def _texts(value: Json) -> set[str]:
    listed = value if isinstance(value, list) else []
    return {item.lower() for item in listed if isinstance(item, str)}
