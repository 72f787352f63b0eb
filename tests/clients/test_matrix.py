"""What every client does with us, and that `docs/clients.md` says so."""

import asyncio

import pytest

from .matrix import run_matrix
from .roster import CLIENTS, Client
from .table import PAGE, render
from .trial import STATUS, Outcome

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    """Everything, tried once."""
    return asyncio.run(run_matrix())


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_a_client_is_served_whatever_it_sends(outcomes: list[Outcome], client: Client) -> None:
    own = [outcome for outcome in outcomes if outcome.trial.client is client]
    assert [outcome for outcome in own if outcome.verdict == "failed"] == []
    working = {(o.trial.dialect, o.trial.is_streamed, o.trial.what) for o in own if _works(o)}
    for dialect in client.dialects:
        for is_streamed in (False, True):
            assert {(dialect, is_streamed, form) for form in ("pointer", "inline")} <= working


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_a_client_raises_its_own_error_and_sends_nothing_twice(
    outcomes: list[Outcome], client: Client
) -> None:
    refused = [o for o in outcomes if o.trial.client is client and o.trial.what in STATUS]
    kinds = {outcome.trial.what for outcome in refused}
    assert kinds >= {"blob_not_found", "pointer_invalid"}
    assert ("quota_exceeded" in kinds) == client.has_files
    assert len(refused) == len(client.dialects) * 2 * len(kinds)
    assert {outcome.requests for outcome in refused} == {1}
    assert {outcome.raised.rpartition(".")[0] for outcome in refused} == {client.raises_from}
    whole, streamed = (
        [
            (o.trial.dialect, o.trial.what, o.raised)
            for o in refused
            if o.trial.is_streamed is manner
        ]
        for manner in (False, True)
    )
    assert whole == streamed


def test_the_page_says_what_was_seen(outcomes: list[Outcome]) -> None:
    assert PAGE.read_text("utf-8") == render(outcomes), (
        "python -m tests.clients --write rewrites it"
    )


def _works(outcome: Outcome) -> bool:
    return outcome.verdict == "works"
