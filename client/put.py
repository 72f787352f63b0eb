"""Putting a blob: name it, ask, and send it only where it is missing."""

from collections.abc import Mapping
from functools import partial

from coatcheck.protocol import (
    Descriptor,
    Digest,
    ImageInfo,
    Ref,
    format_digest_field,
    parse_media_type,
)

from .blobs import headers_for, missing, path_of, stat
from .content import Content, Progress, Source
from .errors import InvalidAnswerError
from .exchange import Exchange, Request, Work
from .refusal import read


def put(
    source: Source,
    media_type: str | None = None,
    progress: Progress | None = None,
    end_user: str | None = None,
) -> Exchange[Descriptor]:
    """Hash a source, upload it unless the server has it, and describe it.

    Raises:
        InvalidMediaTypeError: `media_type` is none.
        InvalidEndUserError: nobody can have the name `end_user`.
        InvalidArgumentError: the source cannot be put, or is empty.
        LocalFileError: it cannot be read.
        FileChangedError: it changed between hashing and sending.
        DigestMismatchError: the bytes changed on the way.
    """
    declared = None if media_type is None else parse_media_type(media_type)
    named = headers_for(end_user)
    content = yield from Work(partial(Content.open, source))
    try:
        digest = yield from _name(content)
        descriptor: Descriptor | None = None
        if not (yield from missing([digest], named)):
            descriptor = yield from stat(digest)  # None: it went away just now
        if descriptor is None:
            descriptor = yield from upload(content, digest, declared, progress, named)
        return _as_declared(_with_pixels(descriptor, content.image), declared)
    finally:
        yield from Work(content.close)


def upload(
    content: Content,
    digest: Digest,
    declared: str | None,
    progress: Progress | None,
    named: Mapping[str, str],
) -> Exchange[Descriptor]:
    """Send a hashed content under its digest."""
    body = yield from Work(partial(content.upload, digest, progress))
    headers = {"Repr-Digest": format_digest_field(digest), **named}
    if declared is not None:
        headers["Content-Type"] = declared
    descriptor = read(Descriptor, (yield from Request("PUT", path_of(digest), headers, body)))
    if (descriptor.digest, descriptor.size) != (digest, content.size):
        raise InvalidAnswerError(f"the server describes another blob than {digest}")
    return descriptor


def _name(content: Content) -> Exchange[Digest]:
    while (yield from Work(content.hash_piece)):
        pass
    return content.named


def _with_pixels(descriptor: Descriptor, image: ImageInfo | None) -> Descriptor:
    if descriptor.width is not None or image is None:
        return descriptor
    pixels = {"width": image.width, "height": image.height, "frames": image.frames}
    return descriptor.model_copy(update=pixels)


def _as_declared(descriptor: Descriptor, declared: str | None) -> Descriptor:
    """Describe a blob that is there under another type by a ref that says this one."""
    if declared in (None, descriptor.media_type):
        return descriptor
    ref = str(Ref(descriptor.digest, declared))
    return descriptor.model_copy(update={"media_type": declared, "ref": ref})
