"""Where a data folder's server is reached, for commands on the same host.

A file in the folder, there while a server listens. After a crash it may be left behind; only who has
seen that the folder is in use believes it.
"""

import contextlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from .origin import reachable

__all__ = ["AddressFile"]

_NAME = "address"


class AddressFile:
    """The file of one data folder. Blocking."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME

    def write(self, urls: Sequence[str]) -> None:
        """Tell the first address that has a port; nothing where the folder takes no writes."""
        for url in urls:
            if url.startswith("http://"):
                with contextlib.suppress(OSError):
                    self._path.write_text(f"{reachable(url)}\n", "ascii")
                return

    def read(self) -> str | None:
        """Return the origin that was told last."""
        try:
            url = self._path.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return url if urlsplit(url).scheme == "http" else None

    @contextmanager
    def kept(self) -> Generator[None]:
        """Remove the file at the end."""
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
