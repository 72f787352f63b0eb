"""Inflating gives what was compressed, however it is cut, and costs what it is allowed to."""

import contextlib
import gzip
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from coatcheck.web import ProblemError
from coatcheck.web.decoder import PIECE_BYTES
from coatcheck.web.inflate import (
    MAX_CODINGS,
    Inflater,
    codings_of,
    inflate,
    inflate_head,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

import brotli  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]


def bare_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


def brotlied(data: bytes) -> bytes:
    packed = brotli.compress(data, quality=5)  # pyright: ignore
    assert isinstance(packed, bytes)
    return packed


Pack = Callable[[bytes], bytes]
PACKERS: dict[str, tuple[str, Pack]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("x-gzip", gzip.compress),
    "zlib": ("deflate", zlib.compress),
    "bare deflate": ("deflate", bare_deflate),
    "br": ("br", brotlied),
    "zstd": ("zstd", zstd.compress),
    "two gzip members": ("gzip", lambda d: gzip.compress(d[:9]) + gzip.compress(d[9:])),
    "two zstd frames": ("zstd", lambda d: zstd.compress(d[:9]) + zstd.compress(d[9:])),
}
TEXT = b'{"model": "m", "messages": [' + b'{"role": "user"},' * 40 + b"]}"
LIMIT = 1 << 20


def fed(codings: Sequence[str], chunks: Sequence[bytes], limit: int = LIMIT) -> bytes:
    inflater = Inflater(codings, limit)
    whole = b"".join(piece for chunk in chunks for piece in inflater.pieces(chunk))
    inflater.finish()
    return whole


@pytest.mark.parametrize("name", PACKERS)
def test_a_body_cut_at_every_byte(name: str) -> None:
    coding, pack = PACKERS[name]
    packed = pack(TEXT)
    for cut in range(len(packed) + 1):
        assert fed([coding], [packed[:cut], packed[cut:]]) == TEXT
    assert fed([coding], [packed[at : at + 1] for at in range(len(packed))]) == TEXT


@given(
    text=st.binary(max_size=3000),
    times=st.sampled_from([1, 1000, 50_000]),
    names=st.lists(st.sampled_from(sorted(PACKERS)), min_size=1, max_size=MAX_CODINGS),
    cuts=st.lists(st.integers(0, 5000), max_size=6),
)
def test_codings_in_a_row_undo_each_other(
    text: bytes, times: int, names: list[str], cuts: list[int]
) -> None:
    packed = data = (text * times)[:LIMIT]
    for name in names:
        packed = PACKERS[name][1](packed)
    edges = [0, *sorted(min(cut, len(packed)) for cut in cuts), len(packed)]
    chunks = [packed[a:b] for a, b in pairwise(edges)]
    codings = [PACKERS[name][0] for name in names]
    assert fed(codings, chunks) == data == inflate(packed, codings, LIMIT)


@pytest.mark.parametrize("name", PACKERS)
def test_a_body_that_ends_early_or_is_garbled_is_malformed(name: str) -> None:
    coding, pack = PACKERS[name]
    packed = pack(TEXT)
    for bad in (packed[:-1], packed[: len(packed) // 3], b"\x07nonsense" * 30, packed + b"junk"):
        with pytest.raises(ProblemError) as caught:
            inflate(bad, [coding], LIMIT)
        assert (caught.value.problem.status, caught.value.problem.code) == (
            400,
            "encoding_malformed",
        )


@given(data=st.binary(max_size=200), coding=st.sampled_from(["gzip", "deflate", "br", "zstd"]))
def test_any_bytes_are_decoded_or_refused(data: bytes, coding: str) -> None:
    with contextlib.suppress(ProblemError):
        inflate(data, [coding], LIMIT)


@pytest.mark.parametrize("name", PACKERS)
@pytest.mark.parametrize("size", [PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES])
def test_what_a_few_bytes_hold_comes_whole(name: str, size: int) -> None:
    """All of the input is taken at once, and most of the output is still to come."""
    coding, pack = PACKERS[name]
    assert inflate(pack(bytes(size)), [coding], LIMIT) == bytes(size)


def test_no_bytes_need_no_decoding() -> None:
    assert inflate(b"", ["gzip", "br"], LIMIT) == b""


@pytest.mark.parametrize("name", PACKERS)
def test_the_limit_is_exact(name: str) -> None:
    coding, pack = PACKERS[name]
    packed = pack(TEXT)
    assert inflate(packed, [coding], len(TEXT)) == TEXT
    with pytest.raises(ProblemError) as caught:
        inflate(packed, [coding], len(TEXT) - 1)
    assert (caught.value.problem.status, caught.value.problem.code) == (413, "body_too_large")


@pytest.mark.parametrize("name", ["gzip", "zlib", "br", "zstd"])
def test_a_bomb_is_cut_off_at_the_limit(name: str) -> None:
    coding, pack = PACKERS[name]
    bomb = pack(bytes(40 << 20))
    inflater = Inflater([coding], 4 << 20)
    sizes: list[int] = []
    began = time.process_time()
    with pytest.raises(ProblemError):
        sizes.extend(len(piece) for piece in inflater.pieces(bomb))
    assert time.process_time() - began < 1
    assert max(sizes) <= 2 * PIECE_BYTES
    assert sum(sizes) <= 4 << 20


def test_a_bomb_inside_a_bomb_is_cut_off_where_it_grows() -> None:
    """The outer one decodes to frames that hold nothing, so only the inner limit can see them."""
    skipped = b"\x50\x2a\x4d\x18" + (1 << 20).to_bytes(4, "little") + bytes(1 << 20)
    bomb = gzip.compress(skipped * 64)
    began = time.process_time()
    with pytest.raises(ProblemError) as caught:
        inflate(bomb, ["zstd", "gzip"], 4 << 20)
    assert caught.value.problem.code == "body_too_large"
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("coding", "member"), [("gzip", gzip.compress(b"", mtime=0)), ("zstd", zstd.compress(b""))]
)
def test_a_body_of_nothing_but_members_is_refused_soon(coding: str, member: bytes) -> None:
    began = time.process_time()
    with pytest.raises(ProblemError) as caught:
        inflate(member * 100_000, [coding], LIMIT)
    assert caught.value.problem.code == "encoding_malformed"
    assert time.process_time() - began < 1


def test_a_zstd_window_beyond_what_http_allows_is_refused() -> None:
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 24}
    stream = zstd.ZstdCompressor(options=options)
    with pytest.raises(ProblemError) as caught:
        inflate(stream.compress(b"x" * 9) + stream.flush(), ["zstd"], LIMIT)
    assert caught.value.problem.code == "encoding_malformed"


@pytest.mark.parametrize("name", PACKERS)
def test_the_head_of_a_body_is_decoded_as_far_as_it_goes(name: str) -> None:
    coding, pack = PACKERS[name]
    packed = pack(TEXT * 2000)
    head = inflate_head(packed[: len(packed) // 2], [coding], 100)
    assert TEXT.startswith(head)
    assert len(inflate_head(packed, [coding], 100)) == 100
    assert inflate_head(b"\x07nonsense", [coding], 100) == b""


@pytest.mark.parametrize(
    ("fields", "codings"),
    [
        ([], ()),
        (["identity"], ()),
        (["GZIP"], ("gzip",)),
        (["gzip, br"], ("gzip", "br")),
        (["gzip", "zstd,identity"], ("gzip", "zstd")),
    ],
)
def test_the_codings_of_a_request(fields: list[str], codings: tuple[str, ...]) -> None:
    headers = CIMultiDict(("Content-Encoding", field) for field in fields)
    assert codings_of(make_mocked_request("POST", "/", headers)) == codings


@pytest.mark.parametrize("field", ["compress", "gzip, aes128gcm", "gzip, gzip, gzip, gzip"])
def test_codings_that_are_not_understood_are_refused(field: str) -> None:
    request = make_mocked_request("POST", "/", {"Content-Encoding": field})
    with pytest.raises(ProblemError) as caught:
        codings_of(request)
    assert (caught.value.problem.status, caught.value.problem.code) == (
        415,
        "content_encoding_unsupported",
    )
