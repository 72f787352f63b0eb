"""What a daemon asks its store, as exchanges. Its key speaks for every tenant, named each time."""

from collections.abc import Sequence
from functools import partial
from urllib.parse import urlencode

from coatcheck.protocol import (
    KEPT_RESPONSE_PATH,
    KEYS_VERIFY_PATH,
    MAX_DIGESTS,
    PROMPT_PATH,
    RESOLVE_PATH,
    TENANT_HEADER,
    USER_HEADER,
    Descriptor,
    Digest,
    KeyAnswer,
    KeyQuestion,
    PromptAnswer,
    PromptAppend,
    ResolveAnswer,
    ResolveRequest,
    ResponseAnswer,
    ResponseName,
    SignedUrl,
    format_digest_field,
)

from . import blobs
from .blobs import JSON_HEADERS, path_of
from .errors import (
    BlobNotFoundError,
    InvalidAnswerError,
    MissingBlob,
    PromptNotFoundError,
    ServerError,
)
from .exchange import Exchange, Reply, Request, Work
from .refusal import read, refusal

MAX_PROMPT_BYTES = 160 * 1024 * 1024
"""The most that is held of one prompt's JSON; stores keep at most 64 MiB of text by default."""


def resolve(
    tenant: str, digests: Sequence[Digest], file_ids: Sequence[str], *, is_use: bool
) -> Exchange[ResolveAnswer]:
    """Ask what of this a tenant holds, in portions of `MAX_DIGESTS`; a use renews leases."""
    parts: list[ResolveAnswer] = []
    for start in range(0, max(len(digests), len(file_ids), 1), MAX_DIGESTS):
        portion = slice(start, start + MAX_DIGESTS)
        asked = ResolveRequest(
            digests=tuple(digests[portion]), file_ids=tuple(file_ids[portion]), is_use=is_use
        )
        body = asked.model_dump_json().encode()
        reply = yield from Request("POST", RESOLVE_PATH, JSON_HEADERS | _of(tenant), body)
        parts.append(read(ResolveAnswer, reply))
    return ResolveAnswer(
        blobs=tuple(blob for part in parts for blob in part.blobs),
        missing=tuple(name for part in parts for name in part.missing),
    )


def fetch(tenant: str, digest: Digest) -> Exchange[Reply]:
    """Ask for a blob, and leave its bytes to be read as they come; nothing here compares them.

    Raises:
        BlobNotFoundError: the tenant holds no grant of it.
    """
    reply = yield from Request("GET", path_of(digest), _of(tenant), keep_open=True)
    if reply.status == 404:
        raise BlobNotFoundError((MissingBlob(digest),))
    if reply.status != 200:
        raise refusal(reply)
    return reply


def upload(
    tenant: str, data: bytes, digest: Digest, media_type: str | None, end_user: str | None
) -> Exchange[Descriptor]:
    """Hand in bytes for a tenant, and for one of its end users.

    Raises:
        DigestMismatchError: they changed on the way.
    """
    headers = {"Repr-Digest": format_digest_field(digest), **_of(tenant, end_user)}
    if media_type is not None:
        headers["Content-Type"] = media_type
    descriptor = read(Descriptor, (yield from Request("PUT", path_of(digest), headers, data)))
    if (descriptor.digest, descriptor.size) != (digest, len(data)):
        raise InvalidAnswerError(f"the store describes another blob than {digest}")
    return descriptor


def missing(tenant: str, digests: Sequence[Digest], end_user: str) -> Exchange[list[Digest]]:
    """Return those that have to be handed in; the others are for the end user too then."""
    return blobs.missing(digests, _of(tenant, end_user))


def signed_url(tenant: str, digest: Digest) -> Exchange[SignedUrl]:
    """Ask for a URL that opens a blob for whoever has it.

    Raises:
        BlobNotFoundError: the tenant holds no grant of it.
    """
    return blobs.signed_url(digest, None, _of(tenant))


def expand(tenant: str, dialect: str, digest: Digest) -> Exchange[list[str] | None]:
    """Return the JSON texts of a kept list, oldest first; None when it is not kept."""
    path = f"{PROMPT_PATH}{digest}?{urlencode({'dialect': dialect})}"
    collected = _Collected()
    reply = yield from Request("GET", path, _of(tenant), sink=collected)
    if not reply.is_success:
        error = refusal(reply)
        if isinstance(error, PromptNotFoundError):
            return None
        raise error
    whole = Reply(reply.status, reply.headers, bytes(collected.data))
    return (yield from Work(partial(_texts, whole)))


def has_prompt(tenant: str, dialect: str, digest: Digest) -> Exchange[bool]:
    """Ask whether a list is kept whose messages are known here."""
    path = f"{PROMPT_PATH}{digest}?{urlencode({'dialect': dialect})}"
    known = {"If-None-Match": f'"{digest}"'}
    reply = yield from Request("GET", path, _of(tenant) | known)
    if reply.status == 304:
        return True
    error = refusal(reply)
    if isinstance(error, PromptNotFoundError):
        return False
    raise error


def append(tenant: str, wanted: PromptAppend, end_user: str | None) -> Exchange[None]:
    """Keep messages that continue a prompt. May be done twice.

    Raises:
        PromptNotFoundError: the parent is not kept.
    """
    path = f"{PROMPT_PATH}{wanted.messages[-1].digest}"
    body = yield from Work(lambda: wanted.model_dump_json().encode())
    reply = yield from Request("PUT", path, JSON_HEADERS | _of(tenant, end_user), body)
    if not reply.is_success:
        raise refusal(reply)


def put_response(
    tenant: str, response_id: str, named: ResponseName, end_user: str | None
) -> Exchange[None]:
    """Let the id of a response name a kept prompt. May be done twice.

    Raises:
        PromptNotFoundError: the prompt is not kept.
    """
    headers = JSON_HEADERS | _of(tenant, end_user)
    body = named.model_dump_json().encode()
    reply = yield from Request("PUT", f"{KEPT_RESPONSE_PATH}{response_id}", headers, body)
    if not reply.is_success:
        raise refusal(reply)


def find_response(tenant: str, response_id: str) -> Exchange[ResponseAnswer | None]:
    """Ask what the id of a response names; None: nothing."""
    reply = yield from Request("GET", f"{KEPT_RESPONSE_PATH}{response_id}", _of(tenant))
    return None if _is_absent(reply) else read(ResponseAnswer, reply)


def remove_response(tenant: str, response_id: str) -> Exchange[bool]:
    """Let the id of a response name nothing; return whether it named something."""
    reply = yield from Request("DELETE", f"{KEPT_RESPONSE_PATH}{response_id}", _of(tenant))
    if _is_absent(reply):
        return False
    if not reply.is_success:
        raise refusal(reply)
    return True


def verify(secret: str) -> Exchange[KeyAnswer | None]:
    """Ask whose key this is; None when it opens nothing."""
    body = KeyQuestion(key=secret).model_dump_json().encode()
    reply = yield from Request("POST", KEYS_VERIFY_PATH, JSON_HEADERS, body)
    if reply.status == 404:
        error = refusal(reply)
        if isinstance(error, ServerError) and error.code == "key_invalid":
            return None
        raise error
    return read(KeyAnswer, reply)


def ready() -> Exchange[None]:
    """Ask whether the store has all that it needs."""
    reply = yield from Request("GET", "/readyz")
    if not reply.is_success:
        raise refusal(reply)


def _is_absent(reply: Reply) -> bool:
    """Whether the store says that no response has this id.

    Raises:
        ClientError: it is 404 for another reason.
    """
    if reply.status != 404:
        return False
    error = refusal(reply)
    if isinstance(error, ServerError) and error.code == "response_not_found":
        return True
    raise error


class _Collected:
    """A sink into memory, for answers that may be larger than most."""

    def __init__(self) -> None:
        self.data = bytearray()

    def begin(self, size: int | None) -> None:
        self._check(size or 0)

    def write(self, data: bytes) -> None:
        self._check(len(self.data) + len(data))
        self.data += data

    def received(self, count: int) -> None:
        pass

    def _check(self, size: int) -> None:
        if size > MAX_PROMPT_BYTES:
            raise InvalidAnswerError(f"a prompt of over {MAX_PROMPT_BYTES} bytes")


def _texts(reply: Reply) -> list[str]:
    return list(read(PromptAnswer, reply).messages)


def _of(tenant: str, end_user: str | None = None) -> dict[str, str]:
    named = {} if end_user is None else {USER_HEADER: end_user}
    return {TENANT_HEADER: tenant, **named}
