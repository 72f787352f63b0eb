"""Streams put together, however they are cut."""

import pickle

import pytest

from coatcheck.client import (
    BlobNotFoundError,
    InvalidAnswerError,
    MissingBlob,
    ServerError,
    StreamBrokenError,
    StreamError,
)
from coatcheck.client.answer import Assembly
from coatcheck.protocol import Digest, JsonObject, encode_json, write_comment, write_event

DIGEST = Digest.of(b"prompt")


def _event(delta: JsonObject, index: int = 0) -> bytes:
    return write_event(encode_json({"choices": [{"index": index, "delta": delta}]}).decode())


STREAM = b"".join(
    [
        write_comment("keep-alive"),
        _event({"role": "assistant", "content": ""}),
        _event({"content": "One coät"}),
        _event({"content": "another choice"}, index=1),
        _event({"content": ", one hat."}),
        write_event('{"choices":[],"usage":{"total_tokens":7}}'),
        write_comment(f"coatcheck-answer {DIGEST}"),
        write_event("[DONE]"),
    ]
)


def test_a_stream_cut_at_every_offset_makes_the_same() -> None:
    for cut in range(len(STREAM) + 1):
        assembly = Assembly()
        chunks = [*assembly.feed(STREAM[:cut]), *assembly.feed(STREAM[cut:])]
        assembly.end()
        assert len(chunks) == 5
        assert assembly.message == {"role": "assistant", "content": "One coät, one hat."}
        assert assembly.announced == DIGEST


def test_a_stream_byte_by_byte_makes_the_same() -> None:
    assembly = Assembly()
    for at in range(len(STREAM)):
        list(assembly.feed(STREAM[at : at + 1]))
    assembly.end()
    assert (assembly.text, assembly.announced) == ("One coät, one hat.", DIGEST)


def test_a_text_that_looks_like_the_comment_is_none() -> None:
    assembly = Assembly()
    list(assembly.feed(_event({"content": f"\n: coatcheck-answer {DIGEST}\n"})))
    assert assembly.announced is None


def test_chunks_before_an_error_are_handed_out() -> None:
    assembly = Assembly()
    error = write_event('{"error":{"message":"gone","code":"upstream_failed"}}')
    chunks = assembly.feed(_event({"content": "One"}) + error)
    assert next(chunks)
    with pytest.raises(StreamError, match="gone"):
        next(chunks)
    assert assembly.text == "One"


def test_an_error_may_be_a_text() -> None:
    with pytest.raises(StreamError, match="gone"):
        list(Assembly().feed(b'data: {"error":"gone"}\n\n'))


def test_a_stream_without_its_end_is_broken() -> None:
    assembly = Assembly()
    list(assembly.feed(STREAM[: -len(b"data: [DONE]\n\n")]))
    with pytest.raises(StreamBrokenError):
        assembly.end()


def test_what_follows_the_end_is_passed_over() -> None:
    assembly = Assembly()
    assert list(assembly.feed(b"data: [DONE]\n\ndata: more\n\n")) == []
    assembly.end()


def test_pieces_of_other_types_are_passed_over() -> None:
    assembly = Assembly()
    odd: list[JsonObject] = [{"choices": 7}, {"choices": [7]}, {"choices": [{"delta": 7}]}]
    odd.append({"choices": [{"delta": {"content": 7, "tool_calls": [{"function": 7}]}}]})
    for chunk in odd:
        list(assembly.feed(write_event(encode_json(chunk).decode())))
    assert assembly.text == ""


def test_an_event_over_the_limit_is_the_servers_fault() -> None:
    assembly = Assembly()
    with pytest.raises(InvalidAnswerError):
        list(assembly.feed(b"x" * (64 * 1024 * 1024 + 1)))


@pytest.mark.parametrize(
    "error",
    [
        ServerError(503, "store_full", "no room", True),
        BlobNotFoundError((MissingBlob(DIGEST, None, "messages.0"),), "gone"),
    ],
)
def test_errors_travel_between_processes(error: ServerError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
