"""Where the ledger is: in the folder while a reuse mode needs it, and nowhere else."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from coatcheck.cli.ledger import open_ledger
from coatcheck.cli.settings import Settings
from coatcheck.cli.upstream_settings import UpstreamSettings


def settings(**upstream: Any) -> Settings:
    return Settings(
        upstream=(UpstreamSettings(name="u", base_url="http://far.example", **upstream),)
    )


@pytest.mark.parametrize(
    "upstream",
    [{"reuse": "file-id", "dialect": "anthropic.messages"}, {"reuse": "uuid"}],
)
async def test_the_ledger_is_in_the_folder_while_it_is_needed(
    tmp_path: Path, upstream: dict[str, str]
) -> None:
    async with AsyncExitStack() as stack:
        ledger = await open_ledger(settings(**upstream), tmp_path, stack)
        assert ledger is not None
        secret = ledger.secret
    async with AsyncExitStack() as stack:
        ledger = await open_ledger(settings(**upstream), tmp_path, stack)
        assert ledger is not None
        assert ledger.secret == secret
    async with AsyncExitStack() as stack:
        assert await open_ledger(settings(), tmp_path, stack) is None
    assert not (tmp_path / "reuse.sqlite").exists()
