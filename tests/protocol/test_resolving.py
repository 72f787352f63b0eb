"""Messages go to the store in requests that it takes."""

from itertools import pairwise

import pytest

from coatcheck.protocol import (
    MAX_DIGESTS,
    MAX_PROMPT_BLOBS,
    MAX_PROMPT_MESSAGES,
    Digest,
    PromptStep,
    prompt_appends,
)

CHAT = "openai.chat"
ROOT = Digest.of(b"root")


def step(number: int, blobs: int = 0) -> PromptStep:
    return PromptStep(
        digest=Digest.of(b"%d" % number), text=str(number), blobs=(Digest.of(b"x"),) * blobs
    )


@pytest.mark.parametrize(
    ("count", "blobs", "sizes"),
    [
        (0, 0, []),
        (3, 2, [3]),
        (MAX_PROMPT_MESSAGES, 0, [MAX_PROMPT_MESSAGES]),
        (MAX_PROMPT_MESSAGES + 2, 0, [MAX_PROMPT_MESSAGES, 2]),
        (2 * MAX_PROMPT_BLOBS // MAX_DIGESTS + 1, MAX_DIGESTS, [10, 10, 1]),
    ],
)
def test_messages_are_split_into_requests_that_continue_each_other(
    count: int, blobs: int, sizes: list[int]
) -> None:
    steps = [step(number, blobs) for number in range(count)]
    requests = list(prompt_appends(CHAT, ROOT, steps))
    assert [len(request.messages) for request in requests] == sizes
    assert [message for request in requests for message in request.messages] == steps
    assert not requests or requests[0].parent == ROOT
    for before, after in pairwise(requests):
        assert after.parent == before.messages[-1].digest
