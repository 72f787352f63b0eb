"""One contract for the forms of answers, whole and streamed, over the vectors of each dialect."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coatcheck.protocol import (
    ANSWER_FORMS,
    DIALECTS,
    AnswerError,
    AnswerForm,
    AnswerStream,
    Digest,
    Json,
    ModelAnswer,
    announcement,
    encode_json,
    write_event,
)

Vectors = Callable[[str], Any]
DIGEST = Digest.of(b"prompt")


def stream_of(events: list[Any]) -> bytes:
    """Write a vector's events as a server does."""
    return b"".join(
        write_event(
            event["data"]
            if isinstance(event["data"], str)
            else encode_json(event["data"]).decode(),
            event.get("event"),
        )
        for event in events
    )


def read(form: AnswerForm, *pieces: bytes) -> AnswerStream:
    stream = AnswerStream(form.parts())
    for piece in pieces:
        list(stream.feed(piece))
    return stream


def expected(row: Any) -> ModelAnswer | None:
    return None if row["messages"] is None else ModelAnswer(row["id"], row["messages"])


def answer_of(stream: AnswerStream) -> ModelAnswer | None:
    return stream.answer() if stream.is_whole else None


_KEYS = (
    *("choices", "message", "delta", "index", "content", "tool_calls", "function", "images"),
    *("type", "output", "response", "item", "output_index", "status", "error", "id"),
    *("code", "data", "usage", "name", "arguments", "finish_reason"),
    *("content_block", "candidates", "parts", "finishReason", "role", "audio", "function_call"),
)


class FormContract:
    """What a form of answers promises; a dialect's class gives its name."""

    dialect: str

    @pytest.fixture
    def form(self) -> AnswerForm:
        return ANSWER_FORMS[self.dialect]

    def rows(self, vectors: Vectors, kind: str) -> list[Any]:
        rows = [row for row in vectors("answer")[kind] if row["dialect"] == self.dialect]
        assert len(rows) >= 4
        return rows

    def test_whole_answers(self, form: AnswerForm, vectors: Vectors) -> None:
        for row in self.rows(vectors, "whole"):
            assert form.read(row["body"]) == expected(row), row["about"]

    def test_streamed_answers_in_two_pieces_cut_anywhere(
        self, form: AnswerForm, vectors: Vectors
    ) -> None:
        for row in self.rows(vectors, "streamed"):
            data = stream_of(row["events"])
            for cut in range(0, len(data) + 1, 7):
                stream = read(form, data[:cut], data[cut:])
                assert answer_of(stream) == expected(row), row["about"]

    def test_a_stream_byte_by_byte_is_the_same(self, form: AnswerForm, vectors: Vectors) -> None:
        row = self.rows(vectors, "streamed")[0]
        data = stream_of(row["events"])
        pieces = [data[at : at + 1] for at in range(len(data))]
        assert answer_of(read(form, *pieces)) == expected(row)

    def test_a_stream_without_its_last_event_but_one_is_whole_or_none(
        self, form: AnswerForm, vectors: Vectors
    ) -> None:
        """Whatever is missing at the end, no part of an answer is taken for one."""
        for row in self.rows(vectors, "streamed"):
            for count in range(len(row["events"])):
                stream = read(form, stream_of(row["events"][:count]))
                assert answer_of(stream) in (None, expected(row)), row["about"]

    def test_what_an_answer_adds_can_be_walked(self, form: AnswerForm, vectors: Vectors) -> None:
        for row in [*self.rows(vectors, "whole"), *self.rows(vectors, "streamed")]:
            if row["messages"]:
                DIALECTS[form.dialect].walk(row["messages"])

    def test_the_comment_is_read_wherever_it_stands(
        self, form: AnswerForm, vectors: Vectors
    ) -> None:
        row = self.rows(vectors, "streamed")[0]
        *events, last = [stream_of([event]) for event in row["events"]]
        for pieces in (
            [*events, announcement(DIGEST), last],
            [*events, last, announcement(DIGEST)],
        ):
            stream = read(form, *pieces)
            assert (stream.announced, answer_of(stream)) == (DIGEST, expected(row))


class TestOpenAIChat(FormContract):
    dialect = "openai.chat"


class TestOpenAIResponses(FormContract):
    dialect = "openai.responses"


class TestAnthropicMessages(FormContract):
    dialect = "anthropic.messages"


class TestGeminiGenerate(FormContract):
    dialect = "gemini.generate"


class TestDifyLlm(FormContract):
    dialect = "dify.llm"


def test_every_dialect_has_a_form() -> None:
    assert ANSWER_FORMS.keys() == DIALECTS.keys()


@pytest.mark.parametrize("data", [b"data: 1\n\n", b"data: {\n\n", b"data: []\n\n"])
def test_what_is_no_stream_of_objects_is_refused(data: bytes) -> None:
    stream = AnswerStream(ANSWER_FORMS["openai.chat"].parts())
    with pytest.raises(AnswerError):
        list(stream.feed(data))


@pytest.mark.parametrize("form", ANSWER_FORMS.values(), ids=list(ANSWER_FORMS))
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4)
        ),
    )
)
def test_anything_else_is_passed_over(form: AnswerForm, value: Json) -> None:
    form.read(value)
    form.passing(value)
    for message in form.carried(value):
        assert isinstance(message, dict)
    read(form, stream_of([{"data": {"type": "x", "choices": value, "candidates": value}}]))
    if isinstance(value, dict):
        read(form, stream_of([{"data": value}])).answer()
        read(form, stream_of([{"data": {"code": 0, "data": {"delta": value}}}])).answer()


def test_long_arguments_are_put_together_in_linear_time() -> None:
    """A delta costs what it has, and not what came before it."""

    def seconds(delta: Callable[[str], Json]) -> float:
        stream = AnswerStream(ANSWER_FORMS["openai.chat"].parts())
        texts = ["x" * 4_000_000, *["y"] * 5000]
        events = [encode_json({"choices": [{"index": 0, "delta": delta(text)}]}) for text in texts]
        begun = time.perf_counter()
        for event in events:
            list(stream.feed(write_event(event.decode())))
        return time.perf_counter() - begun

    as_text = seconds(lambda text: {"content": text})
    as_call = seconds(lambda text: {"tool_calls": [{"index": 0, "function": {"arguments": text}}]})
    as_function = seconds(lambda text: {"function_call": {"arguments": text}})
    assert max(as_call, as_function) < 3 * as_text + 0.1
