import pytest

from coatcheck.cli.body_limit import BodyLimit
from coatcheck.cli.errors import RefusedRequestError

GET = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"


def post(body: bytes, path: str = "/v1/chat/completions") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def chunked(*chunks: bytes, trailer: bytes = b"") -> bytes:
    body = b"".join(f"{len(chunk):x};note=1\r\n".encode() + chunk + b"\r\n" for chunk in chunks)
    head = b"POST /a HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n"
    return head + body + b"0\r\n" + trailer + b"\r\n"


KEPT_ALIVE = [
    pytest.param(GET + post(b"x" * 10) + GET, id="lengths"),
    pytest.param(chunked(b"abc", b"defgh", trailer=b"A: b\r\n") + GET, id="chunks"),
    pytest.param(post(b"") + chunked() + post(b"0123456789"), id="empty bodies"),
    pytest.param(post(GET), id="a body that looks like a request"),
]


@pytest.mark.parametrize("stream", KEPT_ALIVE)
def test_requests_under_the_limit_pass_unchanged_wherever_they_are_cut(stream: bytes) -> None:
    for cut in range(len(stream) + 1):
        limit = BodyLimit(60)
        assert limit.feed(stream[:cut]) + limit.feed(stream[cut:]) == stream


def test_a_body_of_exactly_the_limit_passes() -> None:
    request = post(b"x" * 100)
    assert BodyLimit(100).feed(request) == request


def test_a_content_length_over_the_limit_is_refused_before_any_of_the_body() -> None:
    limit = BodyLimit(100)
    assert limit.feed(GET) == GET
    head, _, _ = post(b"x" * 101).partition(b"x")
    with pytest.raises(RefusedRequestError) as refused:
        limit.feed(head)
    assert refused.value.status == 413
    assert refused.value.response.startswith(b"HTTP/1.1 413 Request Entity Too Large\r\n")
    assert b"Connection: close\r\n" in refused.value.response


def test_the_chunk_that_passes_the_limit_is_refused() -> None:
    limit = BodyLimit(8)
    with pytest.raises(RefusedRequestError, match="413"):
        limit.feed(chunked(b"12345678", b"9"))


def test_an_exempt_path_has_no_limit() -> None:
    limit = BodyLimit(8, exempt_prefixes=("/v1/blobs",))
    upload = post(b"x" * 100, "/v1/blobs?type=image/png")
    assert limit.feed(upload) == upload
    with pytest.raises(RefusedRequestError):
        limit.feed(post(b"x" * 100, "/v1/blob"))


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", id="negative length"),
        pytest.param(
            b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", id="two lengths"
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="chunk size"
        ),
        pytest.param(b"G" * 70_000, id="endless head"),
    ],
)
def test_what_cannot_be_followed_is_a_bad_request(stream: bytes) -> None:
    with pytest.raises(RefusedRequestError, match="400"):
        BodyLimit(100).feed(stream)
