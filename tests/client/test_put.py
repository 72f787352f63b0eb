"""The put exchange, driven step by step against scripted replies."""

import pytest

from coatcheck.client import InvalidAnswerError
from coatcheck.client.exchange import Exchange, Reply, Request, T, Work
from coatcheck.client.put import put
from coatcheck.protocol import Descriptor, Digest, encode_json

DATA = b"a ticket for a coat"
DIGEST = Digest.of(DATA)
THERE = Reply(200, {"content-length": str(len(DATA)), "coatcheck-media-type": "text/plain"})


def _descriptor(data: bytes = DATA) -> Reply:
    described = Descriptor.of(digest=Digest.of(data), size=len(data), media_type="text/plain")
    return Reply(201, {}, described.model_dump_json(exclude_none=True).encode())


def _missing(*digests: Digest) -> Reply:
    return Reply(200, {}, encode_json({"missing": list(digests), "lease_expires_at": 1}))


def _drive(exchange: Exchange[T], *replies: Reply) -> tuple[T, list[Request]]:
    """Answer requests from the script and do the work; return the result and the requests."""
    script, asked = iter(replies), list[Request]()
    outcome: object = None
    try:
        while True:
            step = exchange.send(outcome)
            if isinstance(step, Work):
                outcome = step.run()
            else:
                assert isinstance(step, Request)
                asked.append(step)
                outcome = next(script)
    except StopIteration as stop:
        return stop.value, asked


def test_what_is_there_is_asked_for_and_described() -> None:
    descriptor, asked = _drive(put(DATA), _missing(), THERE)
    assert [request.method for request in asked] == ["POST", "HEAD"]
    assert (descriptor.digest, descriptor.media_type) == (DIGEST, "text/plain")


def test_what_is_missing_is_sent() -> None:
    _, asked = _drive(put(DATA, "text/plain"), _missing(DIGEST), _descriptor())
    assert [(request.method, request.path) for request in asked] == [
        ("POST", "/v1/blobs/missing"),
        ("PUT", f"/v1/blobs/{DIGEST}"),
    ]
    assert asked[1].headers["Content-Type"] == "text/plain"


def test_what_goes_away_after_the_question_is_sent() -> None:
    _, asked = _drive(put(DATA), _missing(), Reply(404, {}), _descriptor())
    assert [request.method for request in asked] == ["POST", "HEAD", "PUT"]


def test_a_description_of_another_blob_is_refused() -> None:
    with pytest.raises(InvalidAnswerError, match="another blob"):
        _drive(put(DATA), _missing(DIGEST), _descriptor(b"a hat"))


def test_a_head_without_a_size_is_refused() -> None:
    with pytest.raises(InvalidAnswerError, match="size"):
        _drive(put(DATA), _missing(), Reply(200, {}))
