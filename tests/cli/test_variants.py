"""Where a process keeps smaller images, and when it clears what an earlier policy left."""

import time
from contextlib import AsyncExitStack
from pathlib import Path

from coatcheck.cli.settings import Settings
from coatcheck.cli.upstream_settings import ImageSettings, UpstreamSettings
from coatcheck.cli.variants import open_shelf


def _settings(images: ImageSettings | None) -> Settings:
    upstream = UpstreamSettings(name="u", base_url="http://far.example/v1", images=images)
    return Settings(upstream=(upstream,), min_free_bytes=0)


async def test_a_policy_opens_a_shelf_and_without_one_it_is_cleared(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        shelf = await open_shelf(_settings(ImageSettings()), tmp_path, stack, time.time)
        assert shelf is not None
        assert await shelf.find("t", []) == {}
    assert (tmp_path / "variants/blobs").is_dir()
    async with AsyncExitStack() as stack:
        for _ in range(2):
            assert await open_shelf(_settings(None), tmp_path, stack, time.time) is None
            assert not (tmp_path / "variants").exists()


async def test_what_cannot_be_cleared_keeps_nothing_from_starting(tmp_path: Path) -> None:
    (tmp_path / "variants").write_bytes(b"no folder")
    async with AsyncExitStack() as stack:
        assert await open_shelf(_settings(None), tmp_path, stack, time.time) is None
