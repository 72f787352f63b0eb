"""A step goes on without its caller, and its end is known all the same."""

import asyncio
import logging

import pytest

from coatcheck.store.errors import StoreUnavailableError
from coatcheck.store.finisher import Finisher


async def test_an_error_that_nobody_waits_for_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    finisher, may_end = Finisher(), asyncio.Event()

    async def step() -> None:
        await may_end.wait()
        raise StoreUnavailableError("the disk failed")

    caller = asyncio.create_task(finisher.run(step()))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    may_end.set()
    await finisher.close()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("coatcheck.store.finisher", logging.WARNING)
    assert "the disk failed" in record.getMessage()


async def test_an_error_that_its_caller_is_told_of_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    finisher = Finisher()

    async def step() -> None:
        raise StoreUnavailableError("the disk failed")

    with pytest.raises(StoreUnavailableError):
        await finisher.run(step())
    await finisher.close()
    assert caplog.records == []


async def test_a_step_that_succeeds_without_its_caller_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    finisher, may_end = Finisher(), asyncio.Event()
    caller = asyncio.create_task(finisher.run(may_end.wait()))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait([caller])
    may_end.set()
    await finisher.close()
    assert caplog.records == []
