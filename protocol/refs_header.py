"""The header that names a request's attachments to a client that asks for it.

A client that sent bytes learns what they are called here, so that it can send refs instead:
`Coatcheck-Refs: messages.0.content.1.image_url;sha256:..., ...`.
"""

from collections.abc import Sequence

from .attachment import Path, dotted
from .digest import Digest

REFS_HEADER = "Coatcheck-Refs"
"""With the value `1` in a request it asks; in an answer it has the names."""
REFS_MORE_HEADER = "Coatcheck-Refs-More"
MAX_REFS = 40  # some 5 KB; common clients and proxies take 8 KB of a header


def refs_headers(places: Sequence[tuple[Path, Digest]], start: int) -> dict[str, str]:
    """Return the headers for attachments in the order of the text.

    The paths index a list of messages whose first `start` were not sent now. What is left out of
    the first header is counted in the second. Without attachments there are none.
    """
    if not places:
        return {}
    named = ", ".join(
        f"{dotted(_moved(path, start))};{digest}" for path, digest in places[:MAX_REFS]
    )
    more = len(places) - MAX_REFS
    return {REFS_HEADER: named} | ({REFS_MORE_HEADER: str(more)} if more > 0 else {})


def _moved(path: Path, start: int) -> Path:
    """Add `start` to the index of the message, the first number of a path."""
    at = next((at for at, step in enumerate(path) if isinstance(step, int)), None)
    if at is None:
        return path
    index = path[at]
    assert isinstance(index, int)
    return (*path[:at], index + start, *path[at + 1 :])
