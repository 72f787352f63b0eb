"""Getting a blob: streamed, and verified before anybody sees it."""

from functools import partial
from pathlib import Path

from coatcheck.protocol import Descriptor

from .blobs import BlobName, named, path_of
from .download import Download
from .errors import BlobNotFoundError, MissingBlob
from .exchange import Exchange, Request, Work
from .refusal import refusal


def get(blob: BlobName, to: Path | None) -> Exchange[bytes]:
    """Fetch a blob into memory, or into a file and return nothing.

    Raises:
        BlobNotFoundError: this key holds no grant of it.
        DigestMismatchError: other bytes came; no file is left at `to`.
        LocalFileError: the file cannot be written.
    """
    digest = named(blob)
    size = blob.size if isinstance(blob, Descriptor) else None
    download = Download(digest, size, to)
    try:
        reply = yield from Request("GET", path_of(digest), sink=download)
        if reply.status == 404:
            raise BlobNotFoundError((MissingBlob(digest),))
        if reply.status != 200:
            raise refusal(reply)
        return (yield from Work(partial(download.commit)))
    finally:
        yield from Work(download.close)
