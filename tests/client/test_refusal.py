"""What is read of a refusal, and how much."""

from coatcheck.client.errors import PromptNotFoundError, ServerError
from coatcheck.client.exchange import Reply
from coatcheck.client.refusal import refusal
from coatcheck.protocol import Digest, JsonObject, encode_json

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
