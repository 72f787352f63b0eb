"""A request body as it is read, before what it names is known. Synchronous, and touches no I/O."""

import json
from dataclasses import dataclass, replace

from coatcheck.protocol import (
    ENVELOPE_KEY,
    Dialect,
    Envelope,
    Json,
    JsonError,
    JsonObject,
    MalformedRequestError,
    ShortJson,
    Whole,
    decode_json,
    framed,
    put_back,
    read_envelope,
    shorten_json,
)

from .errors import RequestRefusedError, TooLargeError

# One of these stands before every value but the first of an object and the outermost one. Counting
# them takes 1 ms a megabyte, and counts those inside strings too.
MARKS_BEFORE_VALUES = ",[{"
_BYTES_BEFORE_VALUES = MARKS_BEFORE_VALUES.encode()


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """Bounds of one turn beside its bytes."""

    max_values: int = 4_000_000
    """JSON values; each takes up to 250 bytes of memory. A body of text has one for some 50 bytes."""

    max_attachments: int = 10_000
    """Attachments of all messages, kept ones included: more than any provider takes."""

    def bound_values(self, count: int) -> None:
        """Raise a TooLargeError where these are too many values."""
        if count > self.max_values:
            raise TooLargeError("JSON values", "too_many_values", max_values=self.max_values)


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


def parse_request(
    raw: Whole, dialect: Dialect, limits: TurnLimits, path_model: str | None = None
) -> ParsedRequest:
    """Read a request body. `path_model` is the model that its path names.

    Raises:
        RequestRefusedError: it is not JSON, no object, has no model, or a malformed envelope.
        TooLargeError: it holds too many values.
    """
    short = shorten_json(raw)
    values = count_values(short.text)
    limits.bound_values(values)
    try:
        body = decode_json(short, keeps_taken=True)
    except JsonError as error:
        raise RequestRefusedError(str(error), error.code) from error
    if not isinstance(body, dict):
        raise RequestRefusedError("the body is not a JSON object", "request_malformed")
    model = path_model or "" if dialect.model_key is None else _model_in(dialect, body)
    if not isinstance(model, str):
        path = ".".join(filter(None, (dialect.provider.frame, dialect.model_key)))
        raise RequestRefusedError("a model is required, as a string", "request_malformed", path)
    if ENVELOPE_KEY in body:
        body = _whole(body)
    try:
        envelope = read_envelope(body, dialect)
    except MalformedRequestError as error:
        raise RequestRefusedError(str(error), error.code, error.path) from error
    return ParsedRequest(short, values, body, model, envelope)


def loose_model(raw: Whole, dialect: Dialect, path_model: str | None) -> str:
    """Return the model of a request that breaks our rules; empty when it cannot be read."""
    if dialect.model_key is None:
        return path_model or ""
    try:
        body: Json = json.loads(raw[:])
    except (ValueError, RecursionError):
        return ""
    model = _model_in(dialect, body) if isinstance(body, dict) else None
    return model if isinstance(model, str) else ""


def _model_in(dialect: Dialect, body: JsonObject) -> Json:
    return framed(dialect, body).get(dialect.model_key or "")


def _whole(body: JsonObject) -> JsonObject:
    return {key: put_back(value) for key, value in body.items()}


def count_values(text: bytes) -> int:
    """Return about how many values a JSON text has, before it is parsed: at least, but for the outermost."""
    return len(text) - len(text.translate(None, _BYTES_BEFORE_VALUES))
