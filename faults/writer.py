"""`python -m faults.writer FOLDER LEDGER [last]`: a program that uses a store and says what it was told.

Blobs of one slab and of several, of two tenants; one that is known; what is refused; pins, releases,
a key and a prompt. A step that is refused because the disk failed is tried again, as a client
would: whoever answers 503 for a fault that has passed must answer 201 then.

Its threads are few and its random bytes counted, so that every run makes the same calls.
"""

import asyncio
import hashlib
import json
import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from coatcheck.protocol import PIECE_BYTES, Digest, Json, prompt_root, prompt_step
from coatcheck.store import (
    BlobNotFoundError,
    DigestMismatchError,
    PromptMessage,
    Store,
    StoreConfig,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)

from .ledger import Ledger, Line, Mark, content, digest_of

T = TypeVar("T")

TRIES = 3
SMALL, SLABS = 20_000, PIECE_BYTES + 70_000
DIALECT = "openai.chat"
_CHUNK_BYTES = 256 * 1024


class StuckError(Exception):
    """A fault that has passed was answered again and again."""


class Writer:
    """Does the steps one after another."""

    def __init__(self, store: Store, ledger: Ledger) -> None:
        self._store = store
        self._ledger = ledger

    async def put(self, tenant: str, name: str, size: int) -> None:
        """Upload the bytes of this name."""
        data = content(name, size)
        digest = Digest.of(data)

        async def work() -> float:
            receipt = await self._store.receive(
                tenant, _body(data), declared_type="image/png", expected_size=size
            )
            return receipt.grant.lease_expires_at or 0.0

        await self._step("put", work, tenant, digest)

    async def put_other(self, tenant: str, name: str, size: int) -> None:
        """Promise the bytes of this name and send others."""
        digest = digest_of(f"not {name}", size)

        async def work() -> float:
            with suppress(DigestMismatchError):
                await self._store.receive(tenant, _body(content(name, size)), expected=digest)
                raise AssertionError("other bytes than promised were taken")
            return 0.0

        await self._step("mismatch", work, tenant)

    async def pin(self, tenant: str, name: str, size: int) -> None:
        """Pin a blob."""
        digest = digest_of(name, size)

        async def work() -> float:
            await self._store.pin(tenant, digest)
            return 0.0

        await self._step("pin", work, tenant, digest)

    async def release(self, tenant: str, name: str, size: int) -> None:
        """Let go of a blob that nothing else holds."""
        digest = digest_of(name, size)

        tries = 0

        async def work() -> float:
            nonlocal tries
            tries += 1
            try:
                assert await self._store.release(tenant, digest) == []
            except BlobNotFoundError:
                if tries == 1:
                    raise
                # else it was done before, and the answer was lost
            return 0.0

        await self._step("release", work, tenant, digest)

    async def key(self, tenant: str) -> None:
        """Make a key."""

        async def work() -> str:
            return (await self._store.keys.create(tenant=tenant, scopes={"read"})).info.id

        await self._step("key", work, tenant)

    async def prompt(self, tenant: str, name: str, size: int) -> None:
        """Append a message that names a blob, and ask for it once it is written."""
        blob = digest_of(name, size)
        message: dict[str, Json] = {"role": "user", "content": f"blob:{blob}"}
        text = json.dumps(message)
        root = prompt_root(DIALECT)
        digest = prompt_step(root, message)

        async def work() -> str:
            steps = [PromptMessage(digest, text, (blob,))]
            await self._store.prompts.append(tenant, DIALECT, root, steps)
            await self._store.prompts.flush()
            if await self._store.prompts.expand(tenant, DIALECT, digest) is None:
                raise StoreUnavailableError("the prompt was lost, as it may be")
            return text

        await self._step("prompt", work, tenant, digest)

    async def read(self, tenant: str, name: str, size: int) -> None:
        """Read a blob back."""
        digest = digest_of(name, size)

        async def work() -> float:
            async with await self._store.open_blob(tenant, digest) as reader:
                parts = [bytes(chunk) async for chunk in reader.chunks()]
            assert b"".join(parts) == content(name, size), f"{name} reads back otherwise"
            return 0.0

        await self._step("read", work, tenant, digest)

    async def _step(
        self, step: str, work: Callable[[], Awaitable[float | str]], tenant: str, digest: str = ""
    ) -> None:
        said = await _persist(self._ledger, step, work, tenant, digest)
        text, until = (said, 0.0) if isinstance(said, str) else ("", said)
        self._ledger.write(Line(Mark.DONE, step, tenant, digest, text, until))


async def _persist(
    ledger: Ledger, step: str, work: Callable[[], Awaitable[T]], tenant: str = "", digest: str = ""
) -> T:
    for _ in range(TRIES):
        ledger.write(Line(Mark.BEGUN, step, tenant, digest))
        try:
            return await work()
        except (StoreFullError, StoreUnavailableError) as error:
            text = f"{type(error).__name__}: {error}"
            ledger.write(Line(Mark.REFUSED, step, tenant, digest, text))
    raise StuckError(f"{step}: refused {TRIES} times")


async def _body(data: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(data), _CHUNK_BYTES):
        yield data[at : at + _CHUNK_BYTES]


async def _never_ending(spooled: asyncio.Event) -> AsyncIterator[bytes]:
    yield content("unfinished", SLABS)
    spooled.set()  # asked for more, so the first bytes are in their file
    await asyncio.Event().wait()


def counted(seed: str) -> Callable[[int], bytes]:
    """Return what gives out bytes like random ones, the same in every run."""
    count = 0

    def give(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_128(f"{seed} {count}".encode()).digest(size)

    return give


async def write(folder: Path, ledger: Ledger, *, is_last: bool) -> None:
    """Use a store in the folder; die in the middle of it when this is not the last use."""
    config = StoreConfig(folder, min_free_bytes=0, read_threads=1, write_threads=1)
    random = counted("last" if is_last else "first")
    try:
        store = await _persist(ledger, "open", lambda: Store.open(config, random=random))
    except StuckError:  # each try has new threads, and a fault strikes in every one
        return
    writer = Writer(store, ledger)
    await (_last if is_last else _first)(writer)
    if not is_last:
        await _die_in_an_upload(store)
    try:
        await store.close()
    except StoreError as error:
        ledger.write(Line(Mark.REFUSED, "close", text=f"{type(error).__name__}: {error}"))
    ledger.write(Line(Mark.DONE, "close"))


async def _first(writer: Writer) -> None:
    await writer.put("a", "before", SMALL)
    await writer.put("b", "before, long", SLABS)
    await writer.put("b", "to be released", SMALL)
    await writer.pin("b", "before, long", SLABS)
    await writer.key("a")
    await writer.prompt("b", "before, long", SLABS)


async def _last(writer: Writer) -> None:
    await writer.put("a", "short", SMALL)
    await writer.put("b", "one byte", 1)
    await writer.put("a", "long", SLABS)
    await writer.put("b", "to be released", SMALL)
    await writer.put("b", "before", SMALL)  # which another tenant has
    await writer.put("a", "long", SLABS)  # which it has itself
    await writer.put_other("a", "refused", SMALL)
    await writer.put_other("b", "refused, long", SLABS)
    await writer.pin("a", "short", SMALL)
    await writer.release("b", "to be released", SMALL)
    await writer.release("b", "one byte", 1)
    await writer.put("b", "one byte", 1)
    await writer.key("b")
    await writer.prompt("a", "long", SLABS)
    await writer.put("a", "last", SMALL)
    for tenant, name, size in (
        ("a", "short", SMALL),
        ("a", "long", SLABS),
        ("b", "one byte", 1),
        ("b", "before", SMALL),
        ("a", "last", SMALL),
    ):
        await writer.read(tenant, name, size)


async def _die_in_an_upload(store: Store) -> None:
    spooled = asyncio.Event()
    unfinished = asyncio.create_task(store.receive("a", _never_ending(spooled)))
    await spooled.wait()
    assert not unfinished.done()
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> int:
    """Write, and say in the ledger what went wrong."""
    folder, path, *which = sys.argv[1:]
    ledger = Ledger(Path(path))
    try:
        asyncio.run(write(Path(folder), ledger, is_last="first" not in which))
    except Exception:  # noqa: BLE001 - the outermost edge: told in the ledger
        ledger.write(Line(Mark.BROKEN, "writer", text=traceback.format_exc()))
        return 1
    finally:
        ledger.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
