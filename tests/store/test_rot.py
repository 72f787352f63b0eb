"""One bit that flips, in any file, at any time: no wrong byte is served, and somebody is told."""

import os
import random
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from coatcheck.protocol import PIECE_BYTES, Digest, piece_count, prompt_root, prompt_step
from coatcheck.store import (
    BlobNotFoundError,
    BlobReader,
    CorruptBlobError,
    PromptMessage,
    Receipt,
    Store,
    StoreConfig,
    StoreError,
)

Put = Callable[..., Awaitable[Receipt]]
Open = Callable[[StoreConfig], Awaitable[Store]]
BlobPath = Callable[[Digest], Path]

SIZES = (1, 20_000, PIECE_BYTES - 1, PIECE_BYTES, 9_000_000)
BLOBS = {Digest.of(data): data for data in map(random.Random(1).randbytes, SIZES)}
TENANTS = ("a", "b")
CHAT = "openai.chat"
TEXT = '{"role":"user","content":"' + "a word " * 40 + '"}'
PROMPT = prompt_step(prompt_root(CHAT), {"role": "user", "content": "a word " * 40})
NIGHTLY = 10 if os.environ.get("COATCHECK_NIGHTLY") else 1


def flip(path: Path, draw: random.Random, start: int = 0, stop: int | None = None) -> None:
    """Change one bit, as a failing disk would."""
    with path.open("r+b") as file:
        file.seek(draw.randrange(start, stop or path.stat().st_size))
        at = file.tell()
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << draw.randrange(8)]))


async def read(reader: BlobReader) -> bytes:
    async with reader:
        return b"".join([bytes(chunk) async for chunk in reader.chunks()])


@pytest.fixture
async def full_store(disk_store: Store, put: Put) -> Store:
    """Both tenants hold every blob."""
    for data in BLOBS.values():
        for tenant in TENANTS:
            await put(disk_store, tenant, data)
    return disk_store


@pytest.mark.parametrize("is_hot", [False, True])
@pytest.mark.parametrize("seed", range(2 * NIGHTLY))
async def test_a_bit_of_a_blob(
    full_store: Store,
    put: Put,
    folder: Path,
    blob_path: BlobPath,
    caplog: pytest.LogCaptureFixture,
    seed: int,
    is_hot: bool,
) -> None:
    draw = random.Random(seed)
    for count, (digest, data) in enumerate(BLOBS.items(), start=1):
        if is_hot:
            for tenant in TENANTS:
                assert await read(await full_store.open_blob(tenant, digest)) == data
        flip(blob_path(digest), draw)
        with pytest.raises(CorruptBlobError):
            await read(await full_store.open_blob("a", digest))
        for tenant in TENANTS:
            assert await full_store.stat(tenant, digest) is None
            with pytest.raises(BlobNotFoundError):
                await full_store.open_blob(tenant, digest)
        assert full_store.counts.damaged_blobs == count
        assert f"{digest} is not what was stored" in caplog.text
        assert (folder / "quarantine" / digest.hex).exists()
        assert not blob_path(digest).exists()
        await put(full_store, "b", data)  # heals it for both
        for tenant in TENANTS:
            assert await read(await full_store.open_blob(tenant, digest)) == data


@pytest.mark.parametrize("seed", range(4 * NIGHTLY))
async def test_a_bit_between_two_pieces_of_one_read(
    full_store: Store, blob_path: BlobPath, seed: int
) -> None:
    draw = random.Random(seed)
    digest, data = list(BLOBS.items())[-1]
    reader = await full_store.open_blob("a", digest)
    when, where = draw.randrange(piece_count(len(data))), draw.randrange(piece_count(len(data)))
    served = bytearray()
    is_found = False
    for index in range(piece_count(len(data))):
        try:
            served += await reader.read_piece(index)
        except CorruptBlobError:
            is_found = True
            break
        if index == when:
            start = where * PIECE_BYTES
            flip(blob_path(digest), draw, start, min(start + PIECE_BYTES, len(data)))
    await reader.close()
    assert is_found == (where > when)
    assert served == data[: where * PIECE_BYTES if is_found else None]
    with pytest.raises(BlobNotFoundError):
        await read(await full_store.open_blob("b", digest))
    assert full_store.counts.damaged_blobs == 1


async def all_there_is(store: Store) -> None:
    """Ask for everything; only an error of the store's, nothing or the right bytes may come."""
    for tenant in TENANTS:
        with suppress(StoreError):
            await store.list_grants(tenant, after=None, limit=100)
        for digest in SMALL:
            with suppress(StoreError):
                async with await store.open_blob(tenant, digest) as reader:
                    assert bytes(await reader.read_piece(0)) == BLOBS[digest]
        with suppress(StoreError):
            assert await store.prompts.expand(tenant, CHAT, PROMPT) in (None, [TEXT])
    with suppress(StoreError):
        await store.keys.list()
    with suppress(StoreError):
        await store.stats()


SMALL = [digest for digest, data in BLOBS.items() if len(data) < 1_000_000]


@pytest.fixture
async def closed_folder(tmp_path: Path, put: Put) -> Path:
    """The folder of a store that was closed: two small blobs, a prompt and a key."""
    place = tmp_path / "closed"
    async with await Store.open(StoreConfig(place, min_free_bytes=0)) as store:
        for digest in SMALL:
            for tenant in TENANTS:
                await put(store, tenant, BLOBS[digest])
        steps = [PromptMessage(PROMPT, TEXT, (SMALL[0],))]
        await store.prompts.append("a", CHAT, prompt_root(CHAT), steps)
        await store.keys.create(tenant="a", scopes={"read"})
    return place


@pytest.mark.parametrize("name", ["index.sqlite", "prompts.sqlite", "seed"])
async def test_a_bit_of_what_stands_beside_the_blobs(
    closed_folder: Path, tmp_path: Path, name: str
) -> None:
    draw = random.Random(name)
    opened = 0
    for _ in range(8 * NIGHTLY):
        place = tmp_path / "copy"
        shutil.copytree(closed_folder, place)
        flip(place / name, draw)
        with suppress(StoreError):
            async with await Store.open(StoreConfig(place, min_free_bytes=0)) as store:
                opened += 1
                await all_there_is(store)
        shutil.rmtree(place)
    assert opened > 1
