import pytest
from pydantic import ValidationError

from coatcheck.protocol import (
    MAX_DIGESTS,
    Digest,
    HoldEntry,
    MissingAnswer,
    MissingRequest,
    Released,
)

DIGEST = Digest.of(b"a coat")


def test_a_request_asks_about_so_many_and_no_more() -> None:
    assert len(MissingRequest(digests=(DIGEST,) * MAX_DIGESTS).digests) == MAX_DIGESTS
    with pytest.raises(ValidationError):
        MissingRequest(digests=(DIGEST,) * (MAX_DIGESTS + 1))


def test_a_request_with_an_unknown_field_is_refused_and_an_answer_is_read() -> None:
    with pytest.raises(ValidationError):
        MissingRequest.model_validate({"digests": [], "more": 1})
    answer = MissingAnswer.model_validate({"missing": [], "lease_expires_at": 1, "more": 1})
    assert answer.missing == ()


def test_what_is_absent_is_left_out() -> None:
    released = Released(digest=DIGEST, holds=(HoldEntry(kind="file", name="file-cc"),))
    text = released.model_dump_json(exclude_none=True)
    assert text == f'{{"digest":"{DIGEST}","holds":[{{"kind":"file","name":"file-cc"}}]}}'
