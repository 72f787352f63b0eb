"""Whether a store that was broken keeps what it promised: asked of it, and looked at behind its back."""

import asyncio
import hashlib
from pathlib import Path

from coatcheck.protocol import Digest
from coatcheck.store import BlobNotFoundError, Store, StoreConfig, StoreError

from . import behind
from .clock import Clock
from .ledger import content
from .persist import body
from .promised import Held, Promised
from .sender import Parcel
from .steps import DIALECT, SMALL

TENANTS = ("a", "b")


async def examine(folder: Path, promised: Promised) -> list[str]:
    """Open the store anew; return a sentence for each thing that is not as it has to be.

    It goes on with what was begun, uploads a blob, and adds that to what was promised; it sweeps, reconciles
    files and rows, and sweeps again.
    """
    wrong = await asyncio.to_thread(lambda: [*behind.of_erased(folder, promised)])
    clock = Clock()
    try:
        store = await Store.open(StoreConfig(folder, min_free_bytes=0), clock=clock)
    except StoreError as error:
        return [f"the restart failed: {error}"]
    async with store:
        wrong += await asyncio.to_thread(lambda: [*behind.of_uploads(folder)])
        try:
            wrong += [
                *await _of_erasures(store, promised),
                *await _of_uploads(store, promised),
                *await _of_blobs(store, promised),
                *await _of_what_is_listed(store, promised),
                *await _of_the_rest(store, promised),
                *await _of_the_next_upload(store, promised),
            ]
            clock.leap()
            await store.sweep.run()
            wrong += await _of_blobs(store, promised)
            wrong += await asyncio.to_thread(lambda: [*behind.of_blobs(folder, promised.unheld)])
            await store.reconcile.run()  # which condemns bytes without a row
            clock.leap()
            await store.sweep.run()
        except StoreError as error:
            wrong.append(f"after the restart it fails: {error!r}")
        if damaged := store.counts.damaged_blobs:
            wrong.append(f"{damaged} blobs were damaged")
        wrong += await asyncio.to_thread(lambda: [*behind.of_blobs(folder)])
        wrong += await asyncio.to_thread(lambda: [*behind.of_uploads(folder)])
    wrong += await asyncio.to_thread(
        lambda: [*behind.of_databases(folder), *behind.of_spools(folder)]
    )
    return list(dict.fromkeys(wrong))


async def _of_erasures(store: Store, promised: Promised) -> list[str]:
    """Erase again: what was done is done, and what was struck comes to its end."""
    wrong: list[str] = []
    for tenant, end_user in (*promised.erased, *promised.erasing):
        erased = await store.erasure.erase_end_user(tenant, end_user)
        if erased.left is None or not erased.left.is_nothing:
            wrong.append(f"the erasure of {end_user} leaves {erased.left}")
        found = (erased.ended_grants, erased.removed_prompts, erased.removed_uploads)
        if (tenant, end_user) in promised.erased and any(found):
            wrong.append(f"LOST: that {end_user} was erased, of whom there were {found}")
    for person in [*promised.erasing]:
        promised.finish_erasure(person)
    return wrong


async def _of_uploads(store: Store, promised: Promised) -> list[str]:
    """Finish the uploads that were begun."""
    wrong: list[str] = []
    for upload_id, parcel in [*promised.uploads.items()]:
        found = await store.uploads.stat(parcel.tenant, upload_id)
        if found is None:
            wrong.append(f"LOST: the upload of {parcel.name}, of which {parcel.offset} bytes were")
            continue
        if found.offset < parcel.offset:
            wrong.append(f"LOST: {parcel.offset - found.offset} bytes of {parcel.name}")
        if upload_id in promised.declared and found.length != parcel.size:
            wrong.append(f"LOST: how long {parcel.name} is")
        try:
            held = await _finish(store, parcel, upload_id, found.offset)
        except StoreError as error:
            wrong.append(f"the upload of {parcel.name} does not go on: {error!r}")
            continue
        if held != (parcel.tenant, parcel.digest):
            wrong.append(f"{parcel.name} became another blob")
        promised.blobs.setdefault(held, 0.0)
        promised.maybe.discard(held)
        promised.uploads.pop(upload_id)
    return wrong


async def _finish(store: Store, parcel: Parcel, upload_id: str, offset: int) -> Held:
    rest = content(parcel.name, parcel.size)[offset:]
    if rest:
        await store.uploads.append(parcel.tenant, upload_id, offset, body(rest))
    receipt = await store.uploads.finish(parcel.tenant, upload_id)
    return parcel.tenant, receipt.grant.digest


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
        digest = Digest(text)
        if await store.stat(tenant, digest) or await _is_whole(store, tenant, digest):
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
    for tenant, digest in promised.erased_prompts:
        if await store.prompts.expand(tenant, DIALECT, Digest(digest)) is not None:
            wrong.append(f"LOST: that the prompt {digest} of {tenant} was erased")
    for (tenant, file_id), digest in promised.files.items():
        file = await store.files.find(tenant, file_id)
        if file is None or file.grant.digest != digest:
            wrong.append(f"LOST: the file {file_id} of {tenant}")
    for tenant, file_id in promised.removed_files:
        if await store.files.find(tenant, file_id):
            wrong.append(f"LOST: that the file {file_id} of {tenant} was removed")
    known = {key.id for key in await store.keys.list()}
    return wrong + [f"LOST: the key {key}" for key in promised.keys - known]


async def _of_the_next_upload(store: Store, promised: Promised) -> list[str]:
    data = content("after the restart", SMALL)

    try:
        receipt = await store.receive("a", body(data))
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
