"""What is read of a refusal, and how much."""

import pytest

from coatcheck.client.errors import BlobNotFoundError, PromptNotFoundError, ServerError
from coatcheck.client.exchange import Reply
from coatcheck.client.refusal import code_of, refusal
from coatcheck.protocol import DIFY, Digest, JsonObject, Problem, encode_json, error_event

DIGEST = Digest.of(b"a")


def refused(more: int) -> Reply:
    missing: list[JsonObject] = [{"digest": DIGEST, "path": "coatcheck.parent"}]
    error: JsonObject = {"code": "prompt_not_found", "message": "gone", "missing": missing}
    return Reply(404, {}, encode_json({"error": {**error, "more": [[]] * more}}))


def test_what_is_missing_is_read() -> None:
    error = refusal(refused(1000))
    assert isinstance(error, PromptNotFoundError)
    assert [entry.digest for entry in error.missing] == [DIGEST]


def test_a_refusal_that_is_longer_than_any_is_not_parsed() -> None:
    """It may be an upstream's, on its way through an edge, which serves others meanwhile."""
    error = refusal(refused(2_000_000))
    assert isinstance(error, ServerError)
    assert error.code is None


@pytest.mark.parametrize("kind", ["text/event-stream", "text/event-stream; charset=utf-8"])
def test_a_frame_of_a_stream_is_read_as_the_refusal_that_it_is(kind: str) -> None:
    missing: JsonObject = {"missing": [{"digest": DIGEST, "path": "data.prompt_messages.0"}]}
    problem = Problem(404, "blob_not_found", "Not found", "it is gone", missing)
    reply = Reply(404, {"content-type": kind}, error_event(DIFY, problem))
    error = refusal(reply)
    assert isinstance(error, BlobNotFoundError)
    assert [one.digest for one in error.missing] == [DIGEST]
    assert code_of(reply) == "blob_not_found"


@pytest.mark.parametrize(
    "body", [b"", b"data: 1\n\n", b'data: {"error":{"code":"x"}}\n\n', b"data: {"]
)
def test_a_stream_of_anything_else_has_no_code(body: bytes) -> None:
    reply = Reply(404, {"content-type": "text/event-stream"}, body)
    assert code_of(reply) is None
    assert isinstance(refusal(reply), ServerError)
