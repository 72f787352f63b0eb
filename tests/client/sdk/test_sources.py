"""Bytes at hand while calls run."""

from coatcheck.client.sdk.sources import Sources
from coatcheck.protocol import Digest

DATA = b"some bytes" * 100
DIGEST = Digest.of(DATA)


def test_bytes_are_at_hand_for_as_long_as_a_call_holds_them() -> None:
    sources = Sources()
    assert sources.is_empty
    with sources.holding({DIGEST: DATA}):
        with sources.holding({DIGEST: DATA}):
            assert sources.get(DIGEST) is DATA
        assert sources.get(DIGEST) is DATA
        assert not sources.is_empty
    assert sources.get(DIGEST) is None
    assert sources.is_empty


def test_bytes_are_named_by_their_digest_each_time() -> None:
    sources = Sources()
    for data in (DATA, bytes(bytearray(DATA)), DATA[:-1], DATA):
        assert sources.digest_of(data) == Digest.of(data)
