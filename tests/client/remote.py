"""A server without sockets: requests in, replies out, as the protocol says; and a driver for exchanges.

It keeps blobs, prompts and uploads, and notes the body that an upstream would get. Tests write and read
it behind the client's back.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar, cast
from urllib.parse import urlsplit

import pybase64

from coatcheck.client.exchange import Exchange, Join, Reply, Request, Work
from coatcheck.protocol import (
    DIALECTS,
    ENVELOPE_KEY,
    SNIFF_BYTES,
    Descriptor,
    Dialect,
    Digest,
    FoundRef,
    Json,
    JsonObject,
    Problem,
    altchars,
    decode_json,
    encode_json,
    error_event,
    fields_of,
    framed,
    messages_in,
    prompt_digests,
    prompt_step,
    put_back,
    read_envelope,
    ref_form,
    sniff,
    with_framed,
)

T = TypeVar("T")

Before = Callable[[Request], Reply | Exception | None]


@dataclass
class Remote:
    """One server. `before` may answer in its place, or break a request off."""

    blobs: dict[Digest, bytes] = field(default_factory=dict[Digest, bytes])
    types: dict[Digest, str] = field(default_factory=dict[Digest, str])
    prompts: dict[Digest, list[Json]] = field(default_factory=dict[Digest, list[Json]])
    fields: dict[Digest, Json] = field(default_factory=dict[Digest, Json])
    uploads: dict[str, "_Upload"] = field(default_factory=dict[str, "_Upload"])
    seen: list[Request] = field(default_factory=list[Request])
    upstream: list[JsonObject] = field(default_factory=list[JsonObject])
    before: Before | None = None
    answer: JsonObject = field(default_factory=lambda: {"role": "assistant", "content": "A coat."})
    keeps: bool = True

    def sent(self, method: str, part: str = "") -> list[Request]:
        return [
            request for request in self.seen if request.method == method and part in request.path
        ]

    @property
    def turns(self) -> list[JsonObject]:
        """The bodies of turns, as they were sent."""
        bodies = [read(request) for request in self.sent("POST") if not _is_stores(request.path)]
        return [body for body in bodies if isinstance(body, dict)]

    def wipe(self) -> None:
        """Lose everything."""
        for kept in (self.blobs, self.prompts, self.fields, self.uploads):
            kept.clear()

    def reply(self, request: Request) -> Reply:
        """Answer a request.

        Raises:
            what `before` says.
        """
        self.seen.append(request)
        if self.before and (instead := self.before(request)) is not None:
            if isinstance(instead, Exception):
                raise instead
            return instead
        path = urlsplit(request.path).path
        if path == "/v1/blobs/missing":
            asked = cast("dict[str, list[Digest]]", read(request))["digests"]
            absent: list[Json] = [digest for digest in asked if digest not in self.blobs]
            return Reply(200, {}, encode_json({"missing": absent, "lease_expires_at": 1}))
        if request.method == "PUT":
            return self._put(Digest(path.rpartition("/")[2]), request)
        if path.startswith("/v1/tus"):
            return self._tus(path, request)
        return self._turn(path, request)

    def _put(self, digest: Digest, request: Request) -> Reply:
        data = content(request)
        if Digest.of(data) != digest:
            return Reply(422, {}, encode_json({"code": "digest_mismatch"}))
        self._keep(digest, data, request.headers.get("Content-Type"))
        described = Descriptor.of(digest=digest, size=len(data), media_type="application/x")
        return Reply(201, {}, described.model_dump_json(exclude_none=True).encode())

    def _keep(self, digest: Digest, data: bytes, media_type: str | None) -> None:
        self.blobs[digest] = data
        self.types[digest] = media_type or sniff(data[:SNIFF_BYTES]) or "application/octet-stream"

    def _tus(self, path: str, request: Request) -> Reply:
        assert request.headers["Tus-Resumable"] == "1.0.0"
        if request.method == "POST":
            path = f"/v1/tus/{secrets.token_hex(4)}"
            self.uploads[path] = _Upload(int(request.headers["Upload-Length"]))
            return Reply(201, {"location": f"http://somewhere{path}"})
        upload = self.uploads.get(path)
        if upload is None:
            return Reply(404, {}, encode_json({"code": "upload_not_found"}))
        if request.method == "PATCH":
            if int(request.headers["Upload-Offset"]) != len(upload.data):
                return Reply(409, {}, encode_json({"code": "upload_offset_mismatch"}))
            upload.data += content(request)
        fields = {"upload-offset": str(len(upload.data))}
        if len(upload.data) == upload.length:
            digest = Digest.of(upload.data)
            self._keep(digest, bytes(upload.data), None)
            fields["coatcheck-digest"] = digest
        return Reply(200, fields)

    def _turn(self, path: str, request: Request) -> Reply:
        spoken = next(
            spoken for spoken in DIALECTS.values() for call in spoken.calls if call.fits(path)
        )
        body = read(request)
        assert isinstance(body, dict)
        envelope = read_envelope(body, spoken)
        if envelope is None:
            self.upstream.append(self._hydrated(spoken, body))
            return Reply(200, {}, b"{}")
        kept: list[Json] | None = []
        if envelope.parent is not None:
            kept = self.prompts.get(envelope.parent)
        if kept is None:
            missing: list[Json] = [{"digest": envelope.parent}]
            return _refuse(spoken, "prompt_not_found", missing)
        messages: list[Json] = [*kept, *envelope.append]
        rest = {key: value for key, value in body.items() if key != ENVELOPE_KEY}
        inner = {**framed(spoken, rest), spoken.messages_key: messages}
        if absent := [one for one in envelope.fields.values() if one not in self.fields]:
            return _refuse(spoken, "field_not_found", [{"digest": one} for one in absent])
        inner |= {key: self.fields[digest] for key, digest in envelope.fields.items()}
        whole = with_framed(spoken, rest, inner)
        if lost := self._lost(spoken, whole):
            return _refuse(spoken, "blob_not_found", lost)
        self.upstream.append(self._hydrated(spoken, whole))
        if self.keeps:
            self.fields |= {one.digest: one.value for one in fields_of(put_back_all(inner), spoken)}
        form = ref_form(spoken, messages).messages
        digests = prompt_digests(spoken.name, form)
        if not self.keeps:
            return Reply(200, {}, b"{}")
        for count, digest in enumerate(digests, 1):
            self.prompts[digest] = form[:count]
        answered = prompt_step(digests[-1], self.answer)
        self.prompts[answered] = [*form, self.answer]
        headers = {"coatcheck-prompt": digests[-1], "coatcheck-answer": answered}
        return Reply(200, headers, b"{}")

    def _lost(self, spoken: Dialect, body: JsonObject) -> list[Json]:
        slots = [*spoken.walk(messages_in(spoken, body)), *spoken.walk_beside(body)]
        return [
            {"digest": slot.found.ref.digest, "path": ".".join(map(str, slot.path))}
            for slot in slots
            if isinstance(slot.found, FoundRef) and slot.found.ref.digest not in self.blobs
        ]

    def _hydrated(self, spoken: Dialect, body: JsonObject) -> JsonObject:
        """Return what an upstream gets."""
        copied = put_back(body)
        assert isinstance(copied, dict)
        slots = [*spoken.walk(messages_in(spoken, copied)), *spoken.walk_beside(copied)]
        for slot in slots:
            if isinstance(slot.found, FoundRef):
                data = self.blobs[slot.found.ref.digest]
                shown = sniff(data[:SNIFF_BYTES]) or self.types[slot.found.ref.digest]
                text = pybase64.b64encode(data, altchars=altchars(slot.is_url_safe)).decode()
                slot.put_inline(slot.found.ref.media_type or shown, text)
        return copied


@dataclass
class _Upload:
    length: int
    data: bytearray = field(default_factory=bytearray)


def drive(exchange: Exchange[T], remote: Remote) -> T:
    """Carry an exchange out against a server; nobody else has anything to wait for."""
    try:
        step = next(exchange)
        while True:
            try:
                if isinstance(step, Join):
                    outcome: object = step.until.result(timeout=5)
                elif isinstance(step, Work):
                    outcome = step.run()
                else:
                    outcome = remote.reply(step)
            except Exception as error:  # noqa: BLE001 - passed on
                step = exchange.throw(error)
            else:
                step = exchange.send(outcome)
    except StopIteration as stop:
        result: T = stop.value
        return result


def put_back_all(body: JsonObject) -> JsonObject:
    """Copy an object deeply."""
    return {key: put_back(value) for key, value in body.items()}


def content(request: Request) -> bytes:
    """Return a body that is at hand."""
    assert isinstance(request.body, bytes)
    return request.body


def read(request: Request) -> Json:
    """Return a JSON body."""
    return decode_json(content(request).decode())


def _refuse(spoken: Dialect, code: str, missing: list[Json]) -> Reply:
    problem = Problem(404, code, "Not found", "", cast("Mapping[str, Json]", {"missing": missing}))
    headers = {"x-should-retry": "false"}
    if spoken.provider.told_by(spoken.calls[0].path) != "stream":
        return Reply(404, headers, encode_json(spoken.provider.error(problem)))
    headers["content-type"] = "text/event-stream"
    return Reply(404, headers, error_event(spoken.provider, problem))


def _is_stores(path: str) -> bool:
    return path.startswith(("/v1/blobs", "/v1/tus"))
