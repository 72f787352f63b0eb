"""A program under gevent, run by `test_composing.py`: prompts written by many greenlets at once.

Each waits for the others while its file is put, so that each is in the middle of a call then. Prints what
each got: its file's ref, and beside it the URL that the next file has for a browser.
"""

from gevent import monkey  # type: ignore[import-untyped]  # it comes without types

monkey.patch_all()

import json
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from coatcheck.client.dify.composing import PromptFile, mark_prompts
from coatcheck.client.dify.file_refs import FileRefs
from coatcheck.client.dify.file_runtime import RefFileRuntime
from coatcheck.protocol import Descriptor, Digest

from .structural import File, FileManager, Storage

COUNT = 8
PATIENCE_SECONDS = 20


class Store:
    """Takes what it is given once all have come."""

    def __init__(self) -> None:
        self.puts = 0
        self._all = threading.Barrier(COUNT)

    def put(self, source: bytes, *, media_type: str | None = None) -> Descriptor:
        self._all.wait(PATIENCE_SECONDS)
        self.puts += 1
        return Descriptor.of(digest=Digest.of(source), size=len(source), media_type="image/png")

    def missing(self, names: Iterable[Digest]) -> list[Digest]:
        raise AssertionError(f"nobody asks for {names}")


class Files(Storage):
    """Files that hold their own names."""

    def load_file_bytes(self, *, file: PromptFile) -> bytes:
        return str(file.related_id).encode()


def main() -> None:
    """Write two prompts for each file, the second of another greenlet's."""
    store, file_manager = Store(), FileManager()
    mark_prompts(file_manager)
    runtime = RefFileRuntime(Files(), FileRefs(store))

    def write(number: int) -> tuple[str, str | None]:
        for name in (f"{number}", f"{(number + 1) % COUNT}"):
            assert (
                file_manager.content(File(runtime, name)).url == f"blob:{Digest.of(name.encode())}"
            )
        return name, File(runtime, name).generate_url()

    with ThreadPoolExecutor(COUNT) as greenlets:
        print(json.dumps({"urls": dict(greenlets.map(write, range(COUNT))), "puts": store.puts}))


main()
