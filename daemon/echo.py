"""The built-in upstream `echo`: it decodes what it is given and describes it, in every dialect.

With it the whole path runs offline with nothing configured. It is strict like a provider: a
left-over ref, bad base64, bytes that are not the type they claim, and ids of others are refused.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from coatcheck.protocol import (
    SNIFF_BYTES,
    Dialect,
    Digest,
    FoundInline,
    JsonError,
    JsonObject,
    MalformedRequestError,
    Path,
    Slot,
    decode_json,
    dialect,
    dotted,
    error_event,
    messages_in,
    sniff,
)
from coatcheck.store import ImageWorkers

from .body import Body
from .echo_voice import EchoAnswer, Heard, Place, Said, Voice, event_stream, json_answer
from .errors import DecoderUnavailableError, RequestRefusedError, UnknownIdError
from .picture import glance
from .upstream import ECHO, Outgoing, UpstreamConfig

MAX_REQUEST_BYTES = 256 * 1024 * 1024  # it holds a request whole, as providers do


class EchoUpstream:
    """Speaks one dialect without a network. `clock` gives the time that its answers name."""

    def __init__(
        self,
        clock: Callable[[], float],
        images: ImageWorkers,
        voice: Voice,
        models: tuple[str, ...] = ("*",),
    ) -> None:
        """`images` decodes what comes; it belongs to whoever made it."""
        self._clock = clock
        self._images = images
        self._voice = voice
        self._dialect = dialect(voice.dialect)
        self._config = UpstreamConfig(name=ECHO, dialect=voice.dialect, models=models)

    @property
    def config(self) -> UpstreamConfig:
        """Every model, inline."""
        return self._config

    @asynccontextmanager
    async def send(self, outgoing: Outgoing) -> AsyncGenerator[EchoAnswer]:
        """Answer a request; see `Upstream.send`. A refusal is an answer too."""
        yield await self._answer(outgoing)

    async def close(self) -> None:
        """Nothing is held."""

    async def _answer(self, outgoing: Outgoing) -> EchoAnswer:
        path, _, query = outgoing.path.partition("?")
        try:
            heard = Heard(path, query, await _read(outgoing.body))
            text = await _describe(self._dialect, self._voice, heard, self._images)
            said = Said(text, int(self._clock()), heard_tokens=len(text.split(" ")))
            return self._voice.answer(heard, said)
        except (RequestRefusedError, DecoderUnavailableError) as error:
            problem, provider = error.problem, self._dialect.provider
            if provider.told_by(path) == "stream":
                return event_stream([error_event(provider, problem)], problem.status)
            return json_answer(problem.status, provider.error(problem))


async def _read(body: Body | None) -> JsonObject:
    raw = bytearray()
    if body:
        async with aclosing(body.chunks()) as chunks:
            async for chunk in chunks:
                raw += chunk
                if len(raw) > MAX_REQUEST_BYTES:
                    raise RequestRefusedError("the request is too large", "request_too_large")
    try:
        request = await asyncio.to_thread(decode_json, bytes(raw))
    except JsonError as error:
        raise RequestRefusedError(str(error), error.code) from error
    if not isinstance(request, dict):
        raise RequestRefusedError("the body is not a JSON object", "invalid_request")
    return request


async def _describe(spoken: Dialect, voice: Voice, heard: Heard, images: ImageWorkers) -> str:
    """Check the messages and say what they hold."""
    places = voice.places(heard)
    given = messages_in(spoken, heard.body)
    try:
        slots = [*spoken.walk(given), *spoken.walk_beside(heard.body)]
    except MalformedRequestError as error:
        raise RequestRefusedError(str(error), error.code, error.path) from error
    _refuse_others(places, slots)
    pictured = {place.path for place in places if place.is_image}
    other = voice.takes_both_alphabets
    seen = [await _describe_slot(slot, pictured, other, images) for slot in slots]
    messages = spoken.list_messages(given) or []
    text = voice.last_text(messages[-1]) if messages else ""
    pictures = "".join(f"\n{number}. {what}" for number, what in enumerate(seen, 1))
    count = f"{len(messages)} message{'s' if len(messages) > 1 else ''}"
    return f"I was given {count}; the last says: {text!r}. Attachments: {len(seen)}.{pictures}"


def _refuse_others(places: Sequence[Place], slots: Sequence[Slot]) -> None:
    """Refuse an attachment that is neither inline nor anything else the walk knows."""
    known = {slot.path for slot in slots}
    for place in places:
        path = dotted(place.path)
        if place.path in known:
            continue
        if place.file_id:
            raise UnknownIdError(f"there is no file {place.file_id:.80}", "file_not_found", path)
        raise RequestRefusedError(
            "its bytes are inline here; echo fetches nothing", "invalid_image_url", path
        )


async def _describe_slot(
    slot: Slot, pictured: Collection[Path], takes_both: bool, images: ImageWorkers
) -> str:
    is_image = slot.path in pictured
    data, kind, named = await asyncio.to_thread(_open_slot, slot, is_image, takes_both)
    if not is_image:
        return f"{kind or 'bytes'}, {named}"
    try:
        return f"{await glance(images, data)}, {named}"
    except RequestRefusedError as error:
        raise RequestRefusedError(str(error), error.problem.code, dotted(slot.path)) from error


def _open_slot(slot: Slot, is_image: bool, takes_both: bool) -> tuple[bytes, str | None, str]:
    """Return the bytes, the media type that they show, and what they are called."""
    found, path = slot.found, dotted(slot.path)
    if not isinstance(found, FoundInline):
        raise RequestRefusedError("a reference is not an image", "invalid_image_url", path)
    data = found.decode()
    if data is None and takes_both:
        data = replace(found, is_url_safe=not found.is_url_safe).decode()
    if data is None:
        raise RequestRefusedError("the base64 is invalid", "invalid_base64", path)
    kind, declared = sniff(data[:SNIFF_BYTES]), found.media_type or ""
    is_checked = is_image or declared.startswith("image/") or declared == "application/pdf"
    if declared and declared != kind and is_checked:
        raise RequestRefusedError(
            f"declared {declared}, but the bytes are {kind or 'something else'}",
            "invalid_image_format",
            path,
        )
    return data, kind, f"{Digest.of(data)}, {len(data)} bytes"
