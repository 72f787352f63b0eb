"""The store in this process, as the daemon sees it."""

from collections.abc import AsyncIterator

import pytest

from coatcheck.daemon import EmbeddedBlobs, EmbeddedPrompts, KeptMessage
from coatcheck.daemon.errors import BlobUnreadableError, StoreUnavailableError
from coatcheck.protocol import Digest, prompt_root
from coatcheck.store import Store, StoreConfig


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """A store in memory."""
    async with await Store.open(StoreConfig(data_folder=None)) as opened:
        yield opened


async def test_a_read_that_fails_is_not_a_missing_blob(store: Store) -> None:
    blobs = EmbeddedBlobs(store)
    digest = await blobs.absorb("default", b"bytes", None)
    reader = await blobs.open("default", digest)
    await reader.close()
    with pytest.raises(StoreUnavailableError):
        await reader.read_piece(0)


async def test_a_blob_that_nobody_holds_is_missing(store: Store) -> None:
    with pytest.raises(BlobUnreadableError):
        await EmbeddedBlobs(store).open("default", Digest.of(b"unknown"))


async def test_files_and_end_users_are_the_stores(store: Store) -> None:
    blobs, prompts = EmbeddedBlobs(store), EmbeddedPrompts(store)
    digest = await blobs.absorb("default", b"bytes", None, end_user="ann")
    file = await store.files.create("default", digest)
    assert await blobs.find_files("default", [file.id, "file-else"]) == {file.id: digest}
    assert set(await blobs.claim("default", [digest], "bob")) == {digest}
    assert set(await blobs.claim("default", [Digest.of(b"unknown")], "bob")) == set()
    root = prompt_root("openai.chat")
    message = KeptMessage(Digest.of(b"message"), "{}", ())
    await prompts.append("default", "openai.chat", root, [message], end_user="ann")
    erased = await store.erasure.erase_end_user("default", "ann")
    assert (erased.kept_grants, erased.removed_prompts) == (1, 1)
