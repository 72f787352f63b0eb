"""The modes that a daemon's upstreams have, made once for all of them."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from ..links import BlobLinks
from ..meters import Meters
from ..source import BlobSource
from ..upstream import Upstreams
from .file import LocalFiles
from .file_id import FileIds
from .file_sweep import FileSweep
from .files_anthropic import AnthropicFiles
from .files_api import FilesApi
from .files_gemini import GeminiFiles
from .files_openai import OpenAIFiles
from .inline import Inline
from .ledger import Ledger
from .mode import Mode, Modes
from .uploads import Uploads
from .url import Urls
from .uuid import Uuids

FILES_APIS: Mapping[str, FilesApi] = MappingProxyType(
    {"openai": OpenAIFiles(), "anthropic": AnthropicFiles(), "gemini": GeminiFiles(asyncio.sleep)}
)
"""By the provider's name."""


def open_modes(
    ledger: Ledger | None,
    links: BlobLinks | None,
    files: Path | None,
    *,
    upstreams: Upstreams,
    blobs: BlobSource,
    meters: Meters,
    clock: Callable[[], float],
    random: Callable[[int], bytes],
) -> Modes:
    """Make the modes that upstreams have. `clock` gives Unix seconds; the ledger is another's.

    `files` is the folder below which blobs are plain files.

    Raises:
        ValueError: one of them needs a ledger, links or files, and there are none.
    """
    modes: dict[str, Mode] = {"inline": Inline()}
    if ledger and upstreams.having("file-id"):
        sweep = FileSweep(ledger, FILES_APIS, upstreams, blobs, clock)
        uploads = Uploads(ledger, meters, clock, random)
        modes["file-id"] = FileIds(ledger, FILES_APIS, uploads, sweep, meters, clock)
        sweep.start()
    if ledger and upstreams.having("uuid"):
        modes["uuid"] = Uuids(ledger.secret, meters, clock)
    if links:
        modes["url"] = Urls(links, blobs, meters, clock)
    if files:
        modes["file"] = LocalFiles(files, blobs, meters, clock)
    if missing := [each for each in upstreams.reuses() if each not in modes]:
        raise ValueError(f"reuse {missing[0]!r} needs what is not here")
    return Modes(modes)
