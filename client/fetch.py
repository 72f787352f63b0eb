"""Getting a blob: streamed, and verified while it comes."""

from functools import partial

from coatcheck.protocol import Descriptor

from .blobs import BlobName, named, path_of
from .content import Progress
from .destination import Destination, target
from .download import Download
from .errors import BlobNotFoundError, MissingBlob
from .exchange import Exchange, Request, Work
from .refusal import refusal


def get(
    blob: BlobName, to: Destination | None = None, progress: Progress | None = None
) -> Exchange[bytes]:
    """Fetch a blob into memory, or to a path or into a file and return nothing.

    Raises:
        BlobNotFoundError: this key holds no grant of it.
        DigestMismatchError: other bytes came; no file is left at a path.
        LocalFileError: the file cannot be written.
        InvalidArgumentError: `to` is nothing that bytes can go to.
    """
    digest = named(blob)
    size = blob.size if isinstance(blob, Descriptor) else None
    download = Download(digest, size, target(to), progress)
    try:
        reply = yield from Request("GET", path_of(digest), sink=download)
        if reply.status == 404:
            raise BlobNotFoundError((MissingBlob(digest),))
        if reply.status != 200:
            raise refusal(reply)
        return (yield from Work(partial(download.commit)))
    finally:
        yield from Work(download.close)
