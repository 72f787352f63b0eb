"""Whether the store answers: what says so, whom it concerns, and whom a question holds up."""

import pytest

from coatcheck.client import (
    ClientError,
    ConnectionFailedError,
    InvalidAnswerError,
    ServerError,
    TimedOutError,
)
from coatcheck.daemon.availability import PAUSE_SECONDS, TRIAL_SECONDS, Availability
from coatcheck.daemon.errors import (
    DaemonError,
    StoreFailedError,
    StoreRefusedError,
    StoreUnavailableError,
    UpstreamError,
    UpstreamGarbageError,
    UpstreamHungUpError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)

from .remote import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Availability:
    return Availability("s", clock)


async def ask(store: Availability, error: Exception | None = None) -> None:
    async with store.asking():
        if error:
            raise error


async def is_away(store: Availability) -> bool:
    try:
        await ask(store)
    except StoreUnavailableError:
        return True
    return False


@pytest.mark.parametrize(
    ("error", "meaning", "away"),
    [
        (ConnectionFailedError("refused"), StoreUnavailableError, True),
        (TimedOutError("slow"), StoreUnavailableError, True),
        (ServerError(502, None, ""), StoreUnavailableError, True),
        (ServerError(503, "overloaded", "", retryable=True), StoreUnavailableError, True),
        (ServerError(504, None, "", retryable=True), StoreUnavailableError, True),
        (ServerError(500, None, "", retryable=True), StoreUnavailableError, False),
        (ServerError(429, None, "", retryable=True), StoreUnavailableError, False),
        (ServerError(408, None, "", retryable=True), StoreUnavailableError, False),
        (ServerError(400, "tenant_invalid", ""), StoreFailedError, False),
        (ServerError(422, None, ""), StoreFailedError, False),
        (ServerError(507, "store_full", ""), StoreFailedError, False),
        (ServerError(401, None, ""), StoreRefusedError, False),
        (InvalidAnswerError("a page"), StoreFailedError, False),
        (UpstreamUnreachableError("upstream store .."), StoreUnavailableError, True),
        (UpstreamTimeoutError("upstream store .."), StoreUnavailableError, True),
        (UpstreamHungUpError("upstream store .."), StoreUnavailableError, False),
        (UpstreamGarbageError("upstream store .."), StoreFailedError, False),
    ],
    ids=repr,
)
async def test_what_a_failure_means_to_who_asked_and_to_others(
    store: Availability, error: ClientError | UpstreamError, meaning: type[DaemonError], away: bool
) -> None:
    with pytest.raises(DaemonError) as caught:
        await ask(store, error)
    assert type(caught.value) is meaning
    assert caught.value.problem.retryable == (meaning is StoreUnavailableError)
    assert "upstream" not in str(caught.value)
    assert await is_away(store) == away


async def test_a_question_that_takes_long_holds_others_up_for_a_while_only(
    store: Availability, clock: Clock
) -> None:
    with pytest.raises(StoreUnavailableError):
        await ask(store, TimedOutError("slow"))
    clock.now += PAUSE_SECONDS
    async with store.asking():
        assert await is_away(store)
        clock.now += TRIAL_SECONDS
        assert not await is_away(store)
        assert not await is_away(store)


async def test_an_answer_of_a_proxy_is_none_of_the_store(store: Availability, clock: Clock) -> None:
    async with store.asking() as question:
        question.status = 502
    assert await is_away(store)
    clock.now += PAUSE_SECONDS
    async with store.asking() as question:
        question.status = 404
    assert not await is_away(store)
