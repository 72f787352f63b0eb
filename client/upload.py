"""Uploading what stands inline in messages: only what is missing, each once, in requests of a bounded size.

1. Of several turns with one new image, in whichever threads or tasks, one uploads it.
2. What is larger than one request may be goes up resumably, by tus 1.0.0. How large that is, is learned:
   whatever stands before the server may refuse what the server would take.
3. Uploads are tried again, since doing one twice changes nothing; as long as they get on.
"""

import time
from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from coatcheck.protocol import (
    DIGEST_HEADER,
    TUS_PATH,
    USER_HEADER,
    Descriptor,
    Digest,
    InlineBlob,
    format_digest_field,
)

from .blobs import missing, path_of
from .errors import ConnectionFailedError, DigestMismatchError, InvalidAnswerError, ServerError
from .exchange import Exchange, Join, Reply, Request, Work
from .known import Known
from .refusal import read, refusal

_VERSION = {"Tus-Resumable": "1.0.0"}
_ROUNDS = 3  # of waiting for somebody else's upload, which may fail
_FAILURES = 4  # in a row, without a byte taken
_PAUSE_SECONDS = 0.2  # before going on: a server notices a broken connection a little later


@dataclass(slots=True)
class Spent:
    """What was sent to the server."""

    uploads: int = 0
    upload_bytes: int = 0
    request_bytes: int = 0
    """Of the turn itself, each time that it was sent."""
    replays: int = 0
    """How often the turn was sent again, for something that the server did not have any more."""


def upload_missing(
    inlines: Sequence[InlineBlob],
    named: Mapping[str, str],
    known: Known,
    spent: Spent | None = None,
) -> Exchange[None]:
    """Upload what the server is missing: it is asked for all at once that is not known to be there.

    `named` are the headers that say for whom.

    Raises:
        ServerError: it does not take them.
    """
    spent = spent or Spent()
    by_name = {_name(inline.digest, named): inline for inline in inlines}
    for _ in range(_ROUNDS):
        wanted = [name for name in by_name if not known.blobs.has(name)]
        if not wanted:
            return
        mine, theirs = known.claims.take(wanted)
        try:
            yield from _upload_absent({name: by_name[name] for name in mine}, named, known, spent)
        finally:
            known.claims.release(mine)
        yield from _wait(theirs)
    left = {name: inline for name, inline in by_name.items() if not known.blobs.has(name)}
    yield from _upload_absent(left, named, known, spent)


def upload_again(
    digests: Collection[Digest],
    inlines: Sequence[InlineBlob],
    named: Mapping[str, str],
    known: Known,
    spent: Spent,
) -> Exchange[None]:
    """Upload what the server said that it does not have.

    Raises:
        ServerError: it does not take them.
    """
    lost = [inline for inline in inlines if inline.digest in digests]
    known.blobs.forget(_name(inline.digest, named) for inline in lost)
    for inline in {inline.digest: inline for inline in lost}.values():
        yield from _upload(inline, named, known, spent)


def forget_all(inlines: Sequence[InlineBlob], named: Mapping[str, str], known: Known) -> None:
    """Learn that the server may have none of these any more."""
    known.blobs.forget(_name(inline.digest, named) for inline in inlines)


def remember_all(inlines: Sequence[InlineBlob], named: Mapping[str, str], known: Known) -> None:
    """Learn that the server has all of these."""
    known.blobs.remember(_name(inline.digest, named) for inline in inlines)


def _upload_absent(
    inlines: Mapping[str, InlineBlob], named: Mapping[str, str], known: Known, spent: Spent
) -> Exchange[None]:
    """Upload what is missing of blobs by their names; who waits for one waits for no other."""
    if not inlines:
        return
    digests = [inline.digest for inline in inlines.values()]
    try:
        absent = set((yield from missing(digests, named)))
    except ConnectionFailedError:  # as of a server that was restarted
        absent = set((yield from missing(digests, named)))
    for name, inline in inlines.items():
        if inline.digest in absent:
            yield from _upload(inline, named, known, spent)
        known.blobs.remember([name])
        known.claims.release([name])


def _wait(theirs: Sequence["Future[object]"]) -> Exchange[None]:
    for until in theirs:
        yield from Join(until)


def _name(digest: Digest, named: Mapping[str, str]) -> str:
    """Return what a blob is known by: asking for it in an end user's name makes it theirs too."""
    return f"{digest} {named.get(USER_HEADER, '')}"


def _upload(
    inline: InlineBlob, named: Mapping[str, str], known: Known, spent: Spent
) -> Exchange[None]:
    data = yield from Work(inline.decode)
    parcel = _Parcel(data, inline.digest, inline.media_type, named)
    if len(data) > known.request_bytes or not (yield from _put(parcel, known, spent)):
        yield from _put_in_pieces(parcel, known, spent)
    spent.uploads += 1
    known.blobs.remember([_name(inline.digest, named)])


@dataclass(frozen=True, slots=True)
class _Parcel:
    data: bytes
    digest: Digest
    media_type: str | None
    named: Mapping[str, str]


def _put(parcel: _Parcel, known: Known, spent: Spent) -> Exchange[bool]:
    """Send a blob in one request; False where that did not get through, and pieces may."""
    headers = {"Repr-Digest": format_digest_field(parcel.digest), **parcel.named}
    if parcel.media_type is not None:
        headers["Content-Type"] = parcel.media_type
    try:
        reply = yield from Request("PUT", path_of(parcel.digest), headers, parcel.data)
    except ConnectionFailedError:
        return False  # as of a server that was restarted, or that hangs up on what is too large
    spent.upload_bytes += len(parcel.data)
    if _is_too_large(reply):
        if not known.shrink(len(parcel.data)):
            raise refusal(reply)
        return False
    descriptor = read(Descriptor, reply)
    if (descriptor.digest, descriptor.size) != (parcel.digest, len(parcel.data)):
        raise InvalidAnswerError(f"the server describes another blob than {parcel.digest}")
    return True


def _put_in_pieces(parcel: _Parcel, known: Known, spent: Spent) -> Exchange[None]:
    """Send a blob in requests that get through; one that is broken off goes on where it came to."""
    place = yield from _begin(parcel)
    offset, failures = 0, 0
    while True:
        piece = parcel.data[offset : offset + known.request_bytes]
        reply = yield from _append(place, offset, piece, is_last_try=failures == _FAILURES)
        if reply is not None:
            spent.upload_bytes += len(piece)
        if reply is not None and reply.is_success:
            failures = 0
        elif reply is not None and _is_too_large(reply) and known.shrink(len(piece)):
            continue
        else:
            if reply is not None and (failures == _FAILURES or not _may_pass(reply)):
                raise refusal(reply)
            failures += 1
            yield from Work(partial(time.sleep, _PAUSE_SECONDS))
            reply = yield from _ask(place)
        offset = _offset(reply)
        if offset == len(parcel.data):
            return _check(reply, parcel.digest)


def _append(place: str, offset: int, piece: bytes, *, is_last_try: bool) -> Exchange[Reply | None]:
    """Send a piece; None where the connection failed, and it may be tried again."""
    headers = {
        **_VERSION,
        "Upload-Offset": str(offset),
        "Content-Type": "application/offset+octet-stream",
    }
    try:
        return (yield from Request("PATCH", place, headers, piece))
    except ConnectionFailedError:
        if is_last_try:
            raise
        return None


def _may_pass(reply: Reply) -> bool:
    """Whether it may be otherwise soon: another request still writes, a server is in haste or starts."""
    return reply.status in (409, 423, 429) or reply.status >= 500


def _begin(parcel: _Parcel) -> Exchange[str]:
    """Begin an upload; return its path."""
    headers = {
        **_VERSION,
        **parcel.named,
        "Upload-Length": str(len(parcel.data)),
        "Repr-Digest": format_digest_field(parcel.digest),
    }
    if parcel.media_type is not None:
        headers["Upload-Metadata"] = f"filetype {b64encode(parcel.media_type.encode()).decode()}"
    try:
        reply = yield from Request("POST", TUS_PATH, headers)
    except ConnectionFailedError:
        reply = yield from Request("POST", TUS_PATH, headers)
    if not reply.is_success:
        raise refusal(reply)
    path = urlsplit(reply.headers.get("location", "")).path
    if not path.startswith(f"{TUS_PATH}/"):
        raise InvalidAnswerError("the answer does not say where the upload is")
    return path


def _ask(place: str) -> Exchange[Reply]:
    reply = yield from Request("HEAD", place, _VERSION)
    if not reply.is_success:
        raise refusal(reply)
    return reply


def _offset(reply: Reply) -> int:
    offset = reply.number("upload-offset")
    if offset is None:
        raise InvalidAnswerError("the answer does not say how far the upload is")
    return offset


def _check(reply: Reply, digest: Digest) -> None:
    if reply.headers.get(DIGEST_HEADER.lower()) != digest:
        raise DigestMismatchError(f"the upload became another blob than {digest}")


def _is_too_large(reply: Reply) -> bool:
    """Whether something before the server refused a request for its length: the server has a code."""
    if reply.status != 413:
        return False
    error = refusal(reply)
    return not isinstance(error, ServerError) or error.code is None
