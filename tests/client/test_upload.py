"""Uploads in requests of a bounded size, which go on where they were broken off."""

import random

import pytest
from tests.client.remote import Remote, content, drive
from tests.client.spoken import text_of

from coatcheck.client import upload as upload_module
from coatcheck.client.errors import ConnectionFailedError, ServerError
from coatcheck.client.exchange import Reply, Request
from coatcheck.client.known import MIN_REQUEST_BYTES, Known
from coatcheck.client.upload import Spent, upload_missing
from coatcheck.protocol import Digest, FoundInline, InlineBlob, encode_json

DATA = random.Random(1).randbytes(300_000)
DIGEST = Digest.of(DATA)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_module, "_PAUSE_SECONDS", 0.0)


def upload(remote: Remote, known: Known, data: bytes = DATA) -> Spent:
    spent = Spent()
    inline = InlineBlob(0, Digest.of(data), FoundInline(text_of(data), 0, "image/png"))
    drive(upload_missing([inline], {}, known, spent), remote)
    return spent


def _sizes(remote: Remote) -> list[int]:
    return [len(content(request)) for request in remote.sent("PATCH")]


def test_what_fits_goes_in_one_request(remote: Remote) -> None:
    spent = upload(remote, Known(1))
    assert len(remote.sent("PUT")) == 1
    assert remote.blobs == {DIGEST: DATA}
    assert (spent.uploads, spent.upload_bytes) == (1, len(DATA))


def test_what_is_larger_goes_in_pieces(remote: Remote) -> None:
    upload(remote, Known(1, 100_000))
    assert _sizes(remote) == [100_000] * 3
    assert remote.sent("PUT") == []
    assert remote.blobs == {DIGEST: DATA}


def _bounded(limit: int, request: Request) -> Reply | None:
    """Answer as a proxy does that takes requests of so many bytes."""
    if isinstance(request.body, bytes) and len(request.body) > limit:
        return Reply(413, {"content-type": "text/html"}, b"<html>413</html>")
    return None


def test_how_much_a_request_takes_is_learned(remote: Remote) -> None:
    known = Known(1)
    remote.before = lambda request: _bounded(80_000, request)
    upload(remote, known)
    assert remote.blobs == {DIGEST: DATA}
    assert known.request_bytes <= 80_000
    remote.seen.clear()
    other = random.Random(2).randbytes(200_000)
    upload(remote, known, other)
    assert max(_sizes(remote)) == known.request_bytes
    assert Digest.of(other) in remote.blobs


def test_a_server_that_takes_nothing_is_believed(remote: Remote) -> None:
    remote.before = lambda request: _bounded(1000, request)
    with pytest.raises(ServerError, match="413"):
        upload(remote, Known(1))
    assert min(_sizes(remote)) == MIN_REQUEST_BYTES


def test_a_refusal_of_the_servers_own_is_final(remote: Remote) -> None:
    refused = Reply(413, {}, encode_json({"code": "blob_too_large", "detail": "too large"}))
    remote.before = lambda request: refused if request.method in ("PUT", "PATCH") else None
    for known in (Known(1), Known(1, 100_000)):
        with pytest.raises(ServerError, match="too large"):
            upload(remote, known)
    assert len(remote.sent("PUT")) == len(remote.sent("PATCH")) == 1


def test_a_broken_upload_goes_on_where_it_came_to(remote: Remote) -> None:
    cuts = iter([False, True, True, False, True, False])

    def cut(request: Request) -> Exception | None:
        if request.method != "PATCH" or not next(cuts):
            return None
        (entry,) = remote.uploads.values()
        entry.data += content(request)[:10_000]  # what came before the connection broke
        return ConnectionFailedError("cut")

    remote.before = cut
    upload(remote, Known(1, 100_000))
    assert remote.blobs == {DIGEST: DATA}
    offsets = [request.headers["Upload-Offset"] for request in remote.sent("PATCH")]
    assert offsets == ["0", "100000", "110000", "120000", "220000", "230000"]


def test_an_upload_that_never_gets_on_ends(remote: Remote) -> None:
    def cut(request: Request) -> Exception | None:
        return ConnectionFailedError("cut") if request.method == "PATCH" else None

    remote.before = cut
    known = Known(1, 100_000)
    with pytest.raises(ConnectionFailedError):
        upload(remote, known)
    assert len(remote.sent("PATCH")) == 5
    mine, theirs = known.claims.take([f"{DIGEST} "])
    assert (len(mine), theirs) == (1, [])  # nobody waits for it any more


def test_who_waits_for_one_blob_waits_for_no_other(remote: Remote) -> None:
    known = Known(1)
    small, large = b"small", random.Random(3).randbytes(1000)
    inlines = [
        InlineBlob(0, Digest.of(data), FoundInline(text_of(data), 0, "image/png"))
        for data in (small, large)
    ]
    seen: list[bool] = []

    def look(request: Request) -> None:
        if request.path.endswith(Digest.of(large)):
            mine, theirs = known.claims.take([f"{Digest.of(small)} ", f"{Digest.of(large)} "])
            seen.append(mine == [f"{Digest.of(small)} "] and len(theirs) == 1)

    remote.before = look
    drive(upload_missing(inlines, {}, known), remote)
    assert seen == [True]
