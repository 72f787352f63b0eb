"""The store in this process, as the daemon sees it."""

from collections.abc import AsyncIterator

import pytest

from coatcheck.daemon import EmbeddedBlobs
from coatcheck.daemon.errors import BlobUnreadableError, StoreUnavailableError
from coatcheck.protocol import Digest
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
