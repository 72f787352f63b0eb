"""What an upstream is sent equals, as JSON, what the client would have sent it with the bytes inline."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from coatcheck.protocol import (
    DIALECTS,
    Json,
    decode_json,
    encode_json,
    framed,
    messages_in,
    ref_form,
    with_framed,
)

from .dialect_samples import SAMPLES
from .equality_corpus import ROWS, SPELLINGS, Row, Spell, Spelling, blobs

Fixture = Callable[..., Any]


def test_the_corpus_covers_every_dialect() -> None:
    assert len(ROWS) >= 60
    assert {row.dialect for row in ROWS} == set(DIALECTS)
    assert min(sum(row.dialect == name for row in ROWS) for name in DIALECTS) >= 15
    assert len({(row.path, row.about) for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.path}: {row.about}")
async def test_the_upstream_receives_what_the_client_means(
    run_daemon: Fixture, run_upstream: Fixture, row: Row, spelling: Spelling
) -> None:
    upstream = await run_upstream(dialect=row.dialect)
    daemon = await run_daemon(upstream.config)
    for data, _ in blobs().values():
        daemon.blobs.add(data)
    sent = encode_json(row.body(Spell(spelling, daemon.url)))
    async with daemon.http.post(daemon.url + row.path, data=sent) as response:
        assert response.status == 200, await response.text()
    direct = encode_json(row.body(Spell("inline", daemon.url)))
    (seen,) = upstream.seen
    assert same(seen.body, direct)
    if spelling == "inline":
        assert seen.body == sent


GAIN_A_URL = frozenset({"a url of null", "without a url"})
"""Ref form has its ref in a `url`, of which a null or an absence does not come back."""


@pytest.mark.parametrize("name", DIALECTS)
def test_every_spelling_differs_where_there_are_attachments(name: str) -> None:
    """Hold the corpus to its word: but for those without attachments, no body is the same in two spellings."""
    spells = [Spell(spelling, "http://here:1") for spelling in SPELLINGS]
    for row in ROWS:
        if row.dialect == name:
            bodies = [encode_json(row.body(spell)) for spell in spells]
            is_plain = row.about in ("text alone", "a string")
            assert len(set(bodies)) == 1 if is_plain else len(set(bodies)) >= 3, row.about


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.path}: {row.about}")
async def test_so_it_does_of_what_a_client_dehydrated(
    run_daemon: Fixture, run_upstream: Fixture, row: Row
) -> None:
    upstream = await run_upstream(dialect=row.dialect)
    daemon = await run_daemon(upstream.config)
    for data, _ in blobs().values():
        daemon.blobs.add(data)
    spoken, body = DIALECTS[row.dialect], row.body(Spell("inline", daemon.url))
    direct = encode_json(body)
    listed = decode_json(encode_json(messages_in(spoken, body)))
    if isinstance(listed, list):
        form = ref_form(spoken, listed)
        inner = {**framed(spoken, body), spoken.messages_key: form.messages}
        body = with_framed(spoken, body, inner)
        assert (encode_json(body) == direct) == (not form.inline)
    async with daemon.http.post(daemon.url + row.path, data=encode_json(body)) as response:
        assert response.status == 200, await response.text()
    if row.about in GAIN_A_URL:  # Dify reads an empty one as none
        direct = direct.replace(b',"url":null', b"").replace(
            b'"mime_type":"image/', b'"url":"","mime_type":"image/'
        )
    assert same(upstream.seen[0].body, direct)


def same(one: bytes, other: bytes) -> bool:
    """Whether two texts are the same JSON: order of keys aside, each number of the same kind."""
    return list(_leaves(json.loads(one))) == list(_leaves(json.loads(other)))


def _leaves(value: Json, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        yield path, "{}"
        for key in sorted(value):
            yield from _leaves(value[key], f"{path}.{key}")
    elif isinstance(value, list):
        yield path, "[]"
        for at, item in enumerate(value):
            yield from _leaves(item, f"{path}.{at}")
    else:
        yield path, repr(value)


def test_a_difference_is_seen() -> None:
    assert same(b'{"a":1,"b":[1.0]}', b'{"b":[1.0],"a":1}')
    for other in (
        b'{"a":1,"b":[1]}',
        b'{"a":1}',
        b'{"a":1,"b":[1.0,null]}',
        b'{"a":true,"b":[1.0]}',
    ):
        assert not same(b'{"a":1,"b":[1.0]}', other)


def test_samples_and_corpus_name_the_same_dialects() -> None:
    assert {sample.name for sample in SAMPLES} == {row.dialect for row in ROWS}
