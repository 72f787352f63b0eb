"""What aiohttp had received of an answer when its connection broke."""

import aiohttp


def unread(content: aiohttp.StreamReader) -> bytes:
    """Return the bytes that arrived and were not read before the break; takes them out.

    The reason for the break may be among them: a stream's error event, an upstream's last word.
    aiohttp gives out no byte any more once it knows of the break, unless that mark is taken off;
    so call this only after a read raised, and keep the error.
    """
    content.set_exception(None)  # type: ignore[arg-type]  # its type leaves this use out
    return content.read_nowait()
