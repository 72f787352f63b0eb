"""What a picture shows at a glance, in the daemon's words.

For `echo`, which proves with it that the very bytes arrived. They are decoded in a worker process.
"""

from collections.abc import AsyncIterator

from coatcheck.store import (
    Glance,
    ImageRefusal,
    ImageRefusedError,
    ImageWorkerCrashedError,
    ImageWorkers,
    StoreError,
)

from .errors import DecoderUnavailableError, RequestRefusedError


async def glance(workers: ImageWorkers, data: bytes) -> str:
    """Describe a PNG, JPEG, GIF or WebP: its format, its pixels and its mean colour.

    Raises:
        RequestRefusedError: it is none of these, does not decode, or claims too much.
        DecoderUnavailableError: a later request can succeed.
    """
    try:
        return _described(await workers.glance(_whole(data), len(data)))
    except ImageRefusedError as error:
        match error.refusal:
            case ImageRefusal.NO_IMAGE:
                raise _refused(str(error), "invalid_image_format") from error
            case ImageRefusal.TOO_LARGE:
                raise _refused(str(error), "image_too_large") from error
            case ImageRefusal.BROKEN:
                raise _refused(str(error), "invalid_image") from error
    except ImageWorkerCrashedError as error:
        raise _refused(str(error), "invalid_image") from error
    except StoreError as error:
        raise DecoderUnavailableError(str(error)) from error


def _described(seen: Glance) -> str:
    kind = seen.media_type.removeprefix("image/").upper()
    return f"{kind} {seen.width}x{seen.height}, mean colour {seen.mean_colour}"


async def _whole(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _refused(message: str, code: str) -> RequestRefusedError:
    return RequestRefusedError(message, code)
