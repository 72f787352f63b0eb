"""A turn's work grows as its messages do, and no faster: counted, so that no clock is asked."""

import os
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from types import FrameType

import pytest

from coatcheck.daemon.parsed_request import TurnLimits, parse_request
from coatcheck.daemon.prompt_memory import PromptMemory
from coatcheck.daemon.source import KeptMessage, Resolved
from coatcheck.daemon.splice import splice, splice_into
from coatcheck.daemon.turn import Recalled, build_turn, fill
from coatcheck.protocol import (
    DIALECTS,
    Digest,
    Json,
    JsonObject,
    Ref,
    encode_json,
    prompt_digests,
    prompt_root,
    ref_form,
    with_framed,
)

BLOB = Digest.of(b"image")
REF = str(Ref(BLOB))
HELD = {BLOB: Resolved(BLOB, 5, "image/png")}
IS_NIGHTLY = "COATCHECK_NIGHTLY" in os.environ
COUNTS = (1_000, 2_000, 4_000, 8_000) if IS_NIGHTLY else (250, 500, 1_000)


def calls_of(work: Callable[[], object]) -> int:
    """Return how many functions are called, those of C included."""
    count = 0

    def note(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def messages(dialect: str, count: int) -> list[Json]:
    """Return messages of which every tenth has an image."""
    texts: list[JsonObject] = [{"text": f"message {n}"} for n in range(count)]
    kinds: dict[str, tuple[str, JsonObject, JsonObject]] = {
        "anthropic.messages": (
            "content",
            {"type": "text"},
            {"type": "image", "source": {"type": "url", "url": REF}},
        ),
        "gemini.generate": ("parts", {}, {"fileData": {"fileUri": REF, "mimeType": "image/png"}}),
        "dify.llm": (
            "content",
            {"type": "text"},
            {"type": "image", "base64_data": "", "url": REF, "mime_type": "image/png"},
        ),
        "openai.chat": (
            "content",
            {"type": "text"},
            {"type": "image_url", "image_url": {"url": REF}},
        ),
        "openai.responses": (
            "content",
            {"type": "input_text"},
            {"type": "input_image", "image_url": REF},
        ),
    }
    key, kind, image = kinds[dialect]
    return [
        {"role": "user", key: [kind | text, image] if n % 10 == 0 else [kind | text]}
        for n, text in enumerate(texts)
    ]


def take_turn(dialect: str, count: int) -> None:
    """Do what the gateway does of its own for a list that is sent whole, and for one that is named."""
    spoken, limits = DIALECTS[dialect], TurnLimits()
    listed = messages(dialect, count)
    asked: JsonObject = {"model": "m", spoken.messages_key: listed}
    whole = encode_json(with_framed(spoken, {}, asked))
    parsed = parse_request(whole, spoken, limits, "m")
    turn = build_turn(parsed, Recalled(), spoken, (), limits)
    form = ref_form(spoken, turn.copy_appended(puts_back=True))
    splice_into(parsed.text, turn.body, fill(turn, HELD, {}), bytes(16))
    digests = prompt_digests(dialect, form.messages)
    envelope: JsonObject = {"parent": digests[-2], "append": listed[-1:]}
    named = encode_json({**with_framed(spoken, {}, {"model": "m"}), "coatcheck": envelope})
    kept = [encode_json(message).decode() for message in form.messages[:-1]]
    parsed = parse_request(named, spoken, limits, "m")
    turn = build_turn(parsed, Recalled(kept), spoken, (), limits)
    splice(turn.body, fill(turn, HELD, {}), bytes(16))


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_a_turns_work_grows_as_its_messages_do(dialect: str) -> None:
    calls = [calls_of(partial(take_turn, dialect, count)) for count in COUNTS]
    for less, more in pairwise(calls):
        assert more < 2.1 * less  # twice, and what a collection of garbage calls


def test_a_remembered_conversation_takes_as_many_steps_however_long_it_is() -> None:
    memory, root = PromptMemory(), prompt_root("openai.chat")
    kept = [KeptMessage(Digest.of(b"%d" % n), f"{n}", ()) for n in range(8_001)]
    parent = root
    for message in kept[:-1]:
        memory.put_messages("a", "openai.chat", parent, [message], 0.0)
        parent = message.digest
    few, many = (
        calls_of(partial(memory.get, "a", "openai.chat", kept[at].digest, 0.0))
        for at in (10, 7_999)
    )
    assert few == many
    begun = calls_of(
        lambda: memory.put_messages("a", "openai.chat", kept[9].digest, [kept[8_000]], 0.0)
    )
    assert begun < 100
