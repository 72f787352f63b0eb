"""The comment that names an answer, found and taken out wherever the stream is cut."""

import pytest

from coatcheck.client.announcement import Announcements
from coatcheck.client.known import KeptPrompts
from coatcheck.protocol import Digest, write_comment, write_event

DIGEST = Digest.of(b"with the answer")
COMMENT = write_comment(f"coatcheck-answer {DIGEST}")
PLAIN = write_event('{"a":": coatcheck-answer"}') + write_event("x: y") + b": another comment\n\n"
STREAM = PLAIN + COMMENT + write_event("[DONE]")


@pytest.mark.parametrize("takes_out", [True, False])
@pytest.mark.parametrize("at", range(len(STREAM) + 1))
def test_a_stream_cut_in_two(at: int, *, takes_out: bool) -> None:
    kept = KeptPrompts()
    announcements = Announcements(kept, takes_out=takes_out)
    pieces = [announcements.feed(STREAM[:at]), announcements.feed(STREAM[at:])]
    passed = b"".join(pieces) + announcements.end()
    assert passed == (STREAM.replace(COMMENT, b"") if takes_out else STREAM)
    assert kept.has(DIGEST)


def test_a_stream_byte_by_byte() -> None:
    announcements = Announcements(KeptPrompts(), takes_out=True)
    twice = COMMENT + STREAM + COMMENT + COMMENT
    pieces = [announcements.feed(twice[at : at + 1]) for at in range(len(twice))]
    assert b"".join(pieces) + announcements.end() == STREAM.replace(COMMENT, b"")


@pytest.mark.parametrize(
    "stream",
    [
        b"data: : coatcheck-answer " + DIGEST.encode() + b"\n\n",
        b"data: of an upstream's\n" + COMMENT + b"data: next\n\n",
        b"data: of an upstream's\r\n" + COMMENT + b"data: next\r\n\r\n",
        b": coatcheck-answer sha256:00\n\n",
        b": coatcheck-ans",
        b"\n:",
        b"",
    ],
)
def test_what_is_no_such_comment_passes(stream: bytes) -> None:
    kept = KeptPrompts()
    announcements = Announcements(kept, takes_out=True)
    passed = [announcements.feed(bytes([byte])) for byte in stream]
    assert b"".join(passed) + announcements.end() == stream
    assert not kept.has(DIGEST)


def test_bytes_are_not_held_back_longer_than_needed() -> None:
    announcements = Announcements(KeptPrompts(), takes_out=True)
    assert announcements.feed(b"data: x\n\n") == b"data: x\n\n"
    assert announcements.feed(b": keep-alive\n\n") == b": keep-alive\n\n"
    assert announcements.feed(b": coat") == b""
    assert announcements.feed(b" off\n\n") == b": coat off\n\n"


@pytest.mark.parametrize("end", [b"\n\n", b"\r\r", b"\r\n\r\n"])
def test_it_is_found_behind_whatever_ends_an_event(end: bytes) -> None:
    kept = KeptPrompts()
    announcements = Announcements(kept, takes_out=True)
    stream = b"data: x" + end + COMMENT + b"data: y" + end
    passed = b"".join(announcements.feed(bytes([byte])) for byte in stream) + announcements.end()
    assert passed == b"data: x" + end + b"data: y" + end
    assert kept.has(DIGEST)
