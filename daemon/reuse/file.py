"""The mode `file`: an engine on this host reads a blob's own file, in place of its bytes.

1. What it is named was verified a moment before, in every turn. From then on the engine reads by itself.
2. The file stays for as long as the turn runs: a copy in the cache is in use, a blob of the store's is
   held by its tenant.
3. The path of a blob never changes, so a prompt that names it does not.

The engine has to be let in: vLLM by `--allowed-local-media-path`, llama.cpp by `--media-path`.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from coatcheck.protocol import Digest, piece_count

from ..errors import BlobUnreadableError
from ..meters import Meters
from ..source import BlobSource, FiledReader, HeldFile
from ..upstream import FileAccess
from .at_hand import at_hand
from .linked import Hold, Link, LinkedPlan, Linking, came_inline
from .mode import Hop, Plan

_log = logging.getLogger(__name__)
MAX_FILES: Final = 200
"""Of one turn; each is open while the turn runs. Others go as bytes."""

_FILE_MODES: Mapping[FileAccess, int] = MappingProxyType({"group": 0o640, "others": 0o644})
_FOLDER_MODES: Mapping[FileAccess, int] = MappingProxyType({"group": 0o750, "others": 0o755})


class LocalFiles:
    """The mode `file`. What engines could not read is remembered in this process alone."""

    def __init__(
        self, folder: Path, blobs: BlobSource, meters: Meters, clock: Callable[[], float]
    ) -> None:
        """`folder` is what all files are below; `clock` gives seconds."""
        self._folder = folder.absolute()
        self._blobs = blobs
        self._linking = Linking("file", meters, clock)

    async def plan(self, hop: Hop) -> Plan:
        """Name files; see `Mode.plan`."""
        reach = self._linking.reach(hop)
        wanted = [
            filling
            for filling in await at_hand(hop, self._blobs)
            if reach.takes(filling.blob.digest)
        ]
        files = await self._files(hop, {each.blob.digest: each.blob.size for each in wanted})
        root = hop.upstream.config.file_root
        links = {
            each.slot.path: Link(each.blob.digest, each.blob.size, self._url(file.path, root))
            for each in wanted
            if (file := files.get(each.blob.digest))
        }
        inline = [filling for filling in wanted if came_inline(filling)]
        return LinkedPlan(self._linking, hop, links, inline, Hold(lambda: _close(files)))

    async def close(self) -> None:
        """Nothing is held."""

    async def _files(self, hop: Hop, wanted: Mapping[Digest, int]) -> dict[Digest, HeldFile]:
        """Return the files of blobs, by their sizes; what has none that can be read is left out."""
        files: dict[Digest, HeldFile] = {}
        try:
            for digest, size in list(wanted.items())[:MAX_FILES]:
                if (file := await _verified(hop, digest, size)) is not None:
                    files[digest] = file
            access = hop.upstream.config.file_access
            if files and access != "owner":
                await asyncio.to_thread(self._let_in, files, access)
        except OSError as error:
            _log.warning("an engine is not let in to read files: %s", error)
            _close(files)
            return {}
        except BaseException:
            _close(files)
            raise
        return files

    def _url(self, path: Path, root: Path | None) -> str:
        """Return a file's URL as the engine sees it: `root` is where it has our folder."""
        here = path.absolute()
        return (here if root is None else root / here.relative_to(self._folder)).as_uri()

    def _let_in(self, files: Mapping[Digest, HeldFile], access: FileAccess) -> None:
        """Let the engine read the files, and pass the folders that they are in, but none above."""
        folders = {self._folder}
        for file in files.values():
            os.chmod(file.path, _FILE_MODES[access])
            parents = file.path.absolute().parents
            folders |= {each for each in parents if each.is_relative_to(self._folder)}
        for folder in folders:
            os.chmod(folder, _FOLDER_MODES[access])


async def _verified(hop: Hop, digest: Digest, size: int) -> HeldFile | None:
    """Return a blob's file, verified from begin to end; None where it has none.

    Raises:
        OSError: there are too many open files.
    """
    try:
        reader = await hop.open_blob(digest)
    except BlobUnreadableError:
        return None  # its bytes are asked for next, and say so where that is told
    try:
        if not isinstance(reader, FiledReader):
            return None
        for index in range(piece_count(size)):
            await reader.read_piece(index)
        return reader.hold()
    except BlobUnreadableError:
        return None
    finally:
        await reader.close()


def _close(files: Mapping[Digest, HeldFile]) -> None:
    for file in files.values():
        file.close()
