"""The modes that a daemon's upstreams have, made once for all of them."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
from .ref import Refs
from .uploads import Uploads
from .url import Urls
from .uuid import Uuids

FILES_APIS: Mapping[str, FilesApi] = MappingProxyType(
    {"openai": OpenAIFiles(), "anthropic": AnthropicFiles(), "gemini": GeminiFiles(asyncio.sleep)}
)
"""By the provider's name."""


@dataclass(frozen=True, slots=True)
class Means:
    """What modes take beside the upstreams; each belongs to whoever made it.

    The ledger knows what providers keep; `links` gives URLs to those that fetch; `files` is the folder
    below which each blob is a plain file.
    """

    ledger: Ledger | None = None
    links: BlobLinks | None = None
    files: Path | None = None


def open_modes(
    means: Means,
    *,
    upstreams: Upstreams,
    blobs: BlobSource,
    meters: Meters,
    clock: Callable[[], float],
    random: Callable[[int], bytes],
) -> Modes:
    """Make the modes that upstreams have. `clock` gives Unix seconds.

    Raises:
        ValueError: an upstream has one for which the means are not there.
    """
    modes: dict[str, Mode] = {"inline": Inline(), "ref": Refs(blobs, meters, clock)}
    ledger = means.ledger
    if ledger and upstreams.having("file-id"):
        sweep = FileSweep(ledger, FILES_APIS, upstreams, blobs, clock)
        uploads = Uploads(ledger, meters, clock, random)
        modes["file-id"] = FileIds(ledger, FILES_APIS, uploads, sweep, meters, clock)
        sweep.start()
    if ledger and upstreams.having("uuid"):
        modes["uuid"] = Uuids(ledger.secret, meters, clock)
    if means.links is not None:
        modes["url"] = Urls(means.links, blobs, meters, clock)
    if means.files is not None:
        modes["file"] = LocalFiles(means.files, blobs, meters, clock)
    if missing := [each for each in upstreams.reuses() if each not in modes]:
        raise ValueError(f"there is no reuse mode {missing[0]!r} here")
    return Modes(modes)
