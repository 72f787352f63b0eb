"""One line for each request: `id method path status in out ms`.

A line never holds a query value (Gemini clients put their key there) nor a header. The path is
logged as it came, still percent-encoded, so that it cannot break the line; only a key of ours, which
somebody may have put into it by mistake, is left out.
"""

import logging
from dataclasses import dataclass

from coatcheck.protocol import KEY_PREFIX, holds_key

logger = logging.getLogger("coatcheck.request")
_MASK = f"{KEY_PREFIX}***"


@dataclass(frozen=True, slots=True)
class Entry:
    """One answered, refused or broken request. `outcome` is a status, `gone` or `broken`.

    `path` is a `shown_path`.
    """

    request_id: str
    method: str
    path: str
    outcome: int | str
    bytes_in: int
    bytes_out: int
    milliseconds: float

    def __str__(self) -> str:
        return (
            f"id={self.request_id} method={self.method} path={self.path} status={self.outcome} "
            f"in={self.bytes_in} out={self.bytes_out} ms={self.milliseconds:.1f}"
        )


def shown_path(path: str) -> str:
    """Return a path as a log may have it: `cck_***` in place of a segment that has a key of ours."""
    if not holds_key(path):
        return path
    return "/".join(_MASK if holds_key(segment) else segment for segment in path.split("/"))


def is_enabled() -> bool:
    """True when somebody reads the log; entries need not be made otherwise."""
    return logger.isEnabledFor(logging.INFO)


def write_entry(entry: Entry) -> None:
    """Log a request."""
    logger.info("%s", entry)
