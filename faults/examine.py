"""Whether a store that was broken keeps what it promised: asked of it, and looked at behind its back."""

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

from coatcheck.protocol import Digest
from coatcheck.store import BlobNotFoundError, Store, StoreConfig, StoreError

from .ledger import content
from .promised import Promised
from .writer import DIALECT, SMALL

TENANTS = ("a", "b")


async def examine(folder: Path, promised: Promised) -> list[str]:
    """Open the store anew; return a sentence for each thing that is not as it has to be.

    It uploads a blob, and adds it to what was promised.
    """
    try:
        store = await Store.open(StoreConfig(folder, min_free_bytes=0))
    except StoreError as error:
        return [f"the restart failed: {error}"]
    async with store:
        wrong = [
            *await _of_blobs(store, promised),
            *await _of_what_is_listed(store, promised),
            *await _of_the_rest(store, promised),
            *await _of_the_next_upload(store, promised),
        ]
        if damaged := store.counts.damaged_blobs:
            wrong.append(f"{damaged} blobs were damaged")
        wrong += await asyncio.to_thread(lambda: [*_of_files(folder)])
    return wrong + await asyncio.to_thread(lambda: [*_of_databases(folder), *_of_spools(folder)])


async def _of_blobs(store: Store, promised: Promised) -> list[str]:
    wrong: list[str] = []
    for (tenant, text), until in promised.blobs.items():
        digest = Digest(text)
        grant = await store.stat(tenant, digest)
        if grant is None:
            wrong.append(f"LOST: {tenant} has no grant for {digest}")
            continue
        if (grant.lease_expires_at or 0.0) < until:
            wrong.append(f"LOST: the lease of {tenant} on {digest}")
        if (tenant, text) in promised.pinned and not grant.pinned:
            wrong.append(f"LOST: the pin of {tenant} on {digest}")
        if not await _is_whole(store, tenant, digest):
            wrong.append(f"LOST: the bytes of {digest}")
    for tenant, text in promised.maybe:
        digest = Digest(text)
        if await store.stat(tenant, digest) and not await _is_whole(store, tenant, digest):
            wrong.append(f"{digest} is half visible to {tenant}")
    for tenant, text in promised.released:
        if await store.stat(tenant, Digest(text)):
            wrong.append(f"LOST: that {tenant} released {text}")
    return wrong


async def _of_what_is_listed(store: Store, promised: Promised) -> list[str]:
    wrong: list[str] = []
    asked = {*promised.blobs, *promised.maybe}
    for tenant in TENANTS:
        for grant in (await store.list_grants(tenant, after=None, limit=1000)).items:
            if (tenant, grant.digest) not in asked:
                wrong.append(f"{tenant} has {grant.digest}, which it never handed in")
            elif not await _is_whole(store, tenant, grant.digest):
                wrong.append(f"the list of {tenant} names {grant.digest}, which is not whole")
    return wrong


async def _of_the_rest(store: Store, promised: Promised) -> list[str]:
    wrong: list[str] = []
    for (tenant, digest), text in promised.prompts.items():
        if await store.prompts.expand(tenant, DIALECT, Digest(digest)) != [text]:
            wrong.append(f"LOST: the prompt {digest} of {tenant}")
    known = {key.id for key in await store.keys.list()}
    return wrong + [f"LOST: the key {key}" for key in promised.keys - known]


async def _of_the_next_upload(store: Store, promised: Promised) -> list[str]:
    data = content("after the restart", SMALL)

    async def body() -> AsyncIterator[bytes]:
        yield data

    try:
        receipt = await store.receive("a", body())
    except StoreError as error:
        return [f"the next upload failed: {error}"]
    promised.blobs["a", receipt.grant.digest] = 0.0
    whole = await _is_whole(store, "a", receipt.grant.digest)
    return [] if whole else ["the next upload does not read back"]


async def _is_whole(store: Store, tenant: str, digest: Digest) -> bool:
    hasher = hashlib.sha256()
    try:
        async with await store.open_blob(tenant, digest) as reader:
            async for chunk in reader.chunks():
                hasher.update(chunk)
    except BlobNotFoundError:
        return False
    return hasher.hexdigest() == digest.hex


def _of_files(folder: Path) -> Iterator[str]:
    for path in (folder / "blobs").rglob("*"):
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != path.name:
            yield f"{path.relative_to(folder)} holds other bytes than its name says"
    for path in (folder / "quarantine").iterdir():
        yield f"{path.name} is in quarantine"


def _of_databases(folder: Path) -> Iterator[str]:
    for name in ("index.sqlite", "prompts.sqlite"):
        with closing(sqlite3.connect(folder / name)) as database:
            for pragma in ("integrity_check", "foreign_key_check"):
                rows = database.execute(f"PRAGMA {pragma}").fetchall()
                if rows not in ([("ok",)], []):
                    yield f"{name}: {rows[:3]}"


def _of_spools(folder: Path) -> Iterator[str]:
    left = [path for path in (folder / "spool").iterdir() if path.name != "lock"]
    left += folder.glob("*.new")
    for path in left:
        yield f"the temporary {path.relative_to(folder)} is left after a restart and a close"
