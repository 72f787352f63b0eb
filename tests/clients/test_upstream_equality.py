"""Upstreams of others say, by a hash of the body they got, that it is the same with refs and without."""

import re

import pytest
import pytest_asyncio

from coatcheck.client import AsyncClient
from coatcheck.protocol import JsonObject

from ..daemon.equality_corpus import ROWS, SPELLINGS, Row, Spell, Spelling, blobs
from .independent import DIALECTS_OF, Independent

pytestmark = [
    pytest.mark.system,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(300),
]
_FINGERPRINT = re.compile(rb"fingerprint ([0-9a-f]{8})\]")
_COUNTED = {row.path for row in ROWS if row.path.endswith(("tokens", "countTokens"))}


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def _handed_in(upstreams: Independent) -> None:
    async with AsyncClient(upstreams.gateway) as client:
        for data, _ in blobs().values():
            await client.put(data)


def rows_of(name: str) -> list[Row]:
    """Return the corpus' turns of the dialects that an upstream speaks."""
    return [row for row in ROWS if row.dialect in DIALECTS_OF[name] and row.path not in _COUNTED]


async def test_every_turn_of_the_corpus_is_tried() -> None:
    assert len(rows_of("fakellm")) >= 35
    spoken = [row for row in ROWS if row.dialect != "dify.llm"]  # which none of them speaks
    assert len(rows_of("llmock")) == len(spoken) - 3


@pytest.mark.parametrize("row", rows_of("fakellm"), ids=lambda row: f"{row.dialect}: {row.about}")
async def test_fakellm_hashes_the_same_body(upstreams: Independent, row: Row) -> None:
    fingerprints: list[bytes] = []
    for url, spelling in _ways(upstreams, "fakellm", row):
        answer = await upstreams.ask(url, _body(upstreams, row, "fakellm", spelling))
        assert answer.status == 200, answer.body[:500]
        fingerprints += _FINGERPRINT.findall(b"".join(_words(answer.body)))
    assert len(fingerprints) == 1 + len(SPELLINGS)
    assert len(set(fingerprints)) == 1


@pytest.mark.parametrize("row", rows_of("llmock"), ids=lambda row: f"{row.dialect}: {row.about}")
async def test_llmock_hashes_the_same_body(upstreams: Independent, row: Row) -> None:
    origin = upstreams.origins["llmock"]
    await upstreams.json(f"{origin}/_llmock/reset", {})
    answers = [
        await upstreams.ask(
            url, _body(upstreams, row, "llmock", spelling), {"x-api-key": f"{row.about}{number}"}
        )
        for number, (url, spelling) in enumerate(_ways(upstreams, "llmock", row))
    ]
    journal = (await upstreams.json(f"{origin}/_llmock/requests"))["requests"]
    assert len({request["fingerprint"] for request in journal}) == 1
    assert len(journal) == 1 + len(SPELLINGS)
    assert len({(answer.status, answer.body) for answer in answers}) == 1


def _ways(upstreams: Independent, name: str, row: Row) -> list[tuple[str, Spelling]]:
    """Return where a row's body goes, in which spelling: directly, and through us in each."""
    path = row.path.replace("/m:", f"/{name}:")
    direct = upstreams.direct(name, row.dialect) + path
    return [(direct, "inline"), *((upstreams.gateway + path, spelling) for spelling in SPELLINGS)]


def _body(upstreams: Independent, row: Row, name: str, spelling: Spelling) -> JsonObject:
    body = row.body(Spell(spelling, upstreams.gateway))
    return {**body, "model": name} if "model" in body else body


def _words(body: bytes) -> list[bytes]:
    """Return what an answer says, from its events if it is a stream."""
    deltas = re.findall(rb'"(?:content|text)":\s*"([^"]*)"', body)
    return deltas or [body]
