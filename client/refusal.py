"""Reading answers: refusals as this folder's errors, bodies as values.

Native routes refuse with problem details (RFC 9457); provider paths with the provider's shape,
everything inside `error`. Both carry a stable `code`.
"""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from coatcheck.protocol import (
    Digest,
    InvalidDigestError,
    Json,
    JsonError,
    JsonObject,
    decode_json,
    told_in_stream,
)

from .errors import (
    BlobNotFoundError,
    ClientError,
    DigestMismatchError,
    FieldNotFoundError,
    InvalidAnswerError,
    MissingBlob,
    PromptNotFoundError,
    ServerError,
)
from .exchange import Reply

Model = TypeVar("Model", bound=BaseModel)

_MAX_TOLD_BYTES = 4 * 1024 * 1024
"""Of a refusal that is read: ten thousand attachments that are missing take half of that."""
_MAY_PASS = frozenset({408, 425, 429, 500, 502, 503, 504})  # RFC 9110 section 15, RFC 6585


def refusal(reply: Reply) -> ClientError:
    """Return the error that an answer which is no success stands for."""
    told = _told(reply)
    code, detail = _text(told, "code"), _detail(reply, told)
    if code == "blob_not_found":
        return BlobNotFoundError(_missing(told.get("missing")), detail)
    if code == "prompt_not_found":
        return PromptNotFoundError(reply.status, code, detail, _missing(told.get("missing")))
    if code == "field_not_found":
        return FieldNotFoundError(reply.status, code, detail, _missing(told.get("missing")))
    if code == "digest_mismatch":
        return DigestMismatchError(detail)
    can_help = reply.status in _MAY_PASS and reply.headers.get("x-should-retry") != "false"
    return ServerError(reply.status, code, detail, can_help)


def code_of(reply: Reply) -> str | None:
    """Return the stable code of an answer that is no success; None where it has none."""
    return _text(_told(reply), "code")


def json_object(reply: Reply) -> JsonObject:
    """Return the object that a success carries.

    Raises:
        ClientError: the answer is a refusal.
        InvalidAnswerError: it is a success without a JSON object.
    """
    if not reply.is_success:
        raise refusal(reply)
    try:
        value = decode_json(reply.body)
    except JsonError as error:
        raise InvalidAnswerError(f"the answer is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidAnswerError("the answer is no JSON object")
    return value


def read(model: type[Model], reply: Reply) -> Model:
    """Return what a success carries.

    Raises:
        ClientError: the answer is a refusal.
        InvalidAnswerError: it is a success with something else.
    """
    if not reply.is_success:
        raise refusal(reply)
    try:
        return model.model_validate_json(reply.body)
    except ValidationError as error:
        raise InvalidAnswerError(f"the answer is no {model.__name__}: {error}") from error


def error_told(value: JsonObject) -> JsonObject:
    """Return what an error body tells: the whole, its `error` object, or the details in that.

    Each provider has its code and what is missing elsewhere: OpenAI in the object itself, Anthropic in
    its `details`, the code as `error_code`, and Gemini in the first of a list of them.
    """
    error = value.get("error")
    if isinstance(error, str):
        return {"message": error}
    if not isinstance(error, dict):
        return value
    details = error.get("details")
    first = details[0] if isinstance(details, list) and details else details
    if not isinstance(first, dict):
        return error
    told = {**error, **first}
    return told | {"code": first["error_code"]} if "error_code" in first else told


def _told(reply: Reply) -> JsonObject:
    """An intermediary may refuse with a page of its own, so anything is an answer here."""
    if len(reply.body) > _MAX_TOLD_BYTES:
        return {}
    if reply.headers.get("content-type", "").startswith("text/event-stream"):
        return told_in_stream(reply.body)
    try:
        value = decode_json(reply.body)
    except JsonError:
        return {}
    return error_told(value) if isinstance(value, dict) else {}


def _detail(reply: Reply, told: JsonObject) -> str:
    for key in ("detail", "message", "title"):
        if text := _text(told, key):
            return text
    return reply.body[:200].decode("utf-8", "replace") or "no explanation"


def _text(value: JsonObject, key: str) -> str | None:
    text = value.get(key)
    return text if isinstance(text, str) else None


def _missing(items: Json) -> tuple[MissingBlob, ...]:
    entries = items if isinstance(items, list) else []
    return tuple(_missing_blob(entry) for entry in entries if isinstance(entry, dict))


def _missing_blob(entry: JsonObject) -> MissingBlob:
    digest = entry.get("digest")
    return MissingBlob(
        digest=_digest(digest) if isinstance(digest, str) else None,
        file_id=_text(entry, "file_id"),
        path=_text(entry, "path"),
    )


def _digest(text: str) -> Digest:
    try:
        return Digest(text)
    except InvalidDigestError as error:
        raise InvalidAnswerError(f"the answer has a malformed digest: {error}") from error
