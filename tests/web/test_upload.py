"""Uploads: raw bodies and forms, split anywhere, and every way a form can be wrong."""

import base64
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest
from aiohttp import ClientSession, FormData, web

from coatcheck.protocol import Digest, JsonObject, format_digest_field
from coatcheck.web import (
    ProblemError,
    Route,
    Server,
    json_response,
    open_upload,
)
from coatcheck.web.form import MAX_PARTS, OVERHEAD_BYTES, FormFile
from coatcheck.web.upload import digest_mismatch

Serve = Callable[..., Awaitable[Server]]
TYPE = "multipart/form-data; boundary=B"


async def receive(request: web.Request) -> web.StreamResponse:
    upload = await open_upload(request)
    data = b"".join([chunk async for chunk in upload.chunks])
    if upload.digest is not None and upload.digest != Digest.of(data):
        raise digest_mismatch(upload.digest, Digest.of(data))
    return json_response(
        {"type": upload.media_type, "size": upload.size, "sha256": hashlib.sha256(data).hexdigest()}
    )


@pytest.fixture
async def url(serve: Serve) -> str:
    server = await serve([Route("POST", "/", receive, scope=None)])
    return str(server.address.url)


@pytest.fixture
def post(http: ClientSession, url: str) -> Callable[..., Awaitable[tuple[int, JsonObject]]]:
    async def send(data: object, **headers: str) -> tuple[int, JsonObject]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with http.post(url, data=data, headers=named) as answer:
            return answer.status, await answer.json(content_type=None)

    return send


Post = Callable[..., Awaitable[tuple[int, JsonObject]]]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def read_form(chunks: Sequence[bytes], content_type: str = TYPE) -> bytes:
    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    form = FormFile(body(), content_type)
    await form.open()
    return b"".join([piece async for piece in form.content()])


def part(content: bytes, *headers: str) -> bytes:
    return b"--B\r\n" + "".join(f"{line}\r\n" for line in headers).encode() + b"\r\n" + content


FILE = 'Content-Disposition: form-data; name="file"; filename="a.png"'
FIELD = 'Content-Disposition: form-data; name="purpose"'
END = b"--B--\r\n"


async def test_a_raw_body_has_its_type_and_size(post: Post) -> None:
    status, answer = await post(b"abc", Content_Type="Image/PNG; q=1")
    assert (status, answer) == (200, {"type": "image/png", "size": 3, "sha256": sha256(b"abc")})


@pytest.mark.parametrize(
    "declared", ["application/octet-stream", "application/x-www-form-urlencoded"]
)
async def test_types_that_nobody_chose_are_no_declaration(post: Post, declared: str) -> None:
    assert (await post(b"abc", Content_Type=declared))[1]["type"] is None


async def test_a_malformed_type_is_refused(post: Post) -> None:
    status, problem = await post(b"abc", Content_Type="image")
    assert (status, problem["code"]) == (400, "media_type_invalid")


async def test_compressed_bodies_are_refused(post: Post) -> None:
    status, problem = await post(b"abc", Content_Encoding="gzip")
    assert (status, problem["code"]) == (415, "content_encoding_unsupported")


@pytest.mark.parametrize("name", ["Repr-Digest", "Content-Digest"])
async def test_digest_fields_are_read(post: Post, name: str) -> None:
    right, wrong = (format_digest_field(Digest.of(data)) for data in (b"abc", b"abd"))
    assert (await post(b"abc", **{name: right}))[0] == 200
    assert (await post(b"abc", **{name: f"sha-512=:AAAA:, {right}"}))[0] == 200
    status, problem = await post(b"abc", **{name: wrong})
    assert (status, problem["code"]) == (422, "digest_mismatch")
    status, problem = await post(b"abc", **{name: "sha-256=:AAAA:"})
    assert (status, problem["code"]) == (400, "digest_field_invalid")


@pytest.mark.parametrize("name", ["Repr-Digest", "Content-Digest"])
async def test_a_promise_that_cannot_be_compared_is_refused(
    http: ClientSession, url: str, name: str
) -> None:
    headers = {name: "sha-512=:AAAA:, md5=:AAAA:"}
    async with http.post(url, data=b"abc", headers=headers) as answer:
        problem = await answer.json(content_type=None)
        assert (answer.status, problem["code"]) == (400, "digest_algorithm_unsupported")
        assert answer.headers[f"Want-{name}"] == "sha-256=10"
        assert problem["unsupported_algorithms"] == [
            {"algorithm": "sha-512", "header": name},
            {"algorithm": "md5", "header": name},
        ]


async def test_one_digest_that_can_be_compared_is_enough(post: Post) -> None:
    right, wrong = (format_digest_field(Digest.of(data)) for data in (b"abc", b"abd"))
    for field, status in ((right, 200), (wrong, 422)):
        sent = {"Repr-Digest": "md5=:AAAA:", "Content-Digest": field}
        assert (await post(b"abc", **sent))[0] == status
    assert (await post(b"abc", Repr_Digest=""))[0] == 200


async def test_the_lines_of_a_digest_field_are_one_field(http: ClientSession, url: str) -> None:
    wrong = format_digest_field(Digest.of(b"abd"))
    lines = [("Repr-Digest", "md5=:AAAA:"), ("Repr-Digest", wrong)]
    async with http.post(url, data=b"abc", headers=lines) as answer:
        assert answer.status == 422


async def test_digest_fields_that_contradict_each_other_are_a_mismatch(post: Post) -> None:
    right, wrong = (format_digest_field(Digest.of(data)) for data in (b"abc", b"abd"))
    status, problem = await post(b"abc", Repr_Digest=right, Content_Digest=wrong)
    assert (status, problem["code"]) == (422, "digest_mismatch")


async def test_a_form_of_a_real_client_is_read(post: Post) -> None:
    data = bytes(range(256)) * 1000
    form = FormData()
    form.add_field("purpose", "vision")
    form.add_field("file", data, filename="naïve.png", content_type="image/png")
    status, answer = await post(form)
    assert (status, answer) == (200, {"type": "image/png", "size": None, "sha256": sha256(data)})


async def test_a_form_is_compared_with_the_requests_digest(post: Post) -> None:
    body = part(b"x" * 100_000 + b"\r\n", FILE) + END
    right = f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"
    wrong = format_digest_field(Digest.of(b"x" * 100_000))
    assert (await post(body, Content_Type=TYPE, Repr_Digest=right))[0] == 200
    status, problem = await post(body, Content_Type=TYPE, Repr_Digest=wrong)
    assert (status, problem["code"]) == (422, "digest_mismatch")


async def test_a_part_may_promise_its_own_digest(post: Post) -> None:
    field = format_digest_field(Digest.of(b"abc"))
    right = part(b"abc\r\n", FILE, f"Content-Digest: {field}") + END
    wrong = part(b"abd\r\n", FILE, f"Content-Digest: {field}") + END
    assert (await post(right, Content_Type=TYPE))[0] == 200
    assert (await post(wrong, Content_Type=TYPE))[1]["code"] == "digest_mismatch"
    other = part(b"abc\r\n", FILE, "Content-Digest: md5=:AAAA:") + END
    assert (await post(other, Content_Type=TYPE))[1]["code"] == "digest_algorithm_unsupported"


@pytest.mark.parametrize("content", [b"", b"abc", b"\r\n", b"\r\n--", b"\r\n--A\r\n", b"--B"])
async def test_a_form_may_be_split_at_any_byte(content: bytes) -> None:
    body = (
        b"preamble\r\n"
        + part(b"vision\r\n", FIELD)
        + part(content + b"\r\n", FILE)
        + part(b"\r\n", FIELD)
        + END
        + b"epilogue"
    )
    for at in range(len(body) + 1):
        assert await read_form([body[:at], body[at:]]) == content
    assert await read_form([bytes([byte]) for byte in body]) == content


async def test_the_file_need_not_be_named_when_the_field_is() -> None:
    disposition = 'Content-Disposition: form-data; name="file"'
    assert await read_form([part(b"abc\r\n", disposition) + END]) == b"abc"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "form_malformed"),
        (b"no boundary at all", "form_malformed"),
        (END, "form_without_file"),
        (part(b"x\r\n", FIELD) + END, "form_without_file"),
        (part(b"abc", FILE), "form_malformed"),
        (part(b"abc\r\n", FILE), "form_malformed"),
        (part(b"abc\r\n", FILE) + b"--B", "form_malformed"),
        (part(b"abc\r\n", FILE) + b"--B-", "form_malformed"),
        (part(b"abc\r\n", FILE) + part(b"def\r\n", FILE) + END, "form_with_files"),
        (b"--Bx\r\n\r\nabc\r\n--B--", "form_malformed"),
        (part(b"abc\r\n", FILE, "no colon") + END, "form_malformed"),
        (part(b"YWJj\r\n", FILE, "Content-Transfer-Encoding: base64") + END, "form_malformed"),
        (part(b"x\r\n", FIELD) * (MAX_PARTS + 1) + part(b"a\r\n", FILE) + END, "form_malformed"),
        (b"x" * (OVERHEAD_BYTES + 1) + b"\r\n" + part(b"a\r\n", FILE), "form_overhead_too_large"),
        (part(b"a\r\n", FILE, "X: " + "x" * OVERHEAD_BYTES) + END, "form_overhead_too_large"),
        (part(b"x" * OVERHEAD_BYTES + b"\r\n", FIELD) + END, "form_overhead_too_large"),
        (part(b"a\r\n", FILE) + END + b"x" * OVERHEAD_BYTES, "form_overhead_too_large"),
    ],
)
async def test_a_form_that_is_wrong_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(ProblemError) as caught:
        await read_form([body[at : at + 4096] for at in range(0, len(body), 4096)])
    assert caught.value.problem.code == code


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        f"multipart/form-data; boundary={'x' * 71}",
        'multipart/form-data; boundary="a\\"b"',
        'multipart/form-data; boundary="a "',
    ],
)
async def test_a_form_needs_a_boundary(content_type: str) -> None:
    with pytest.raises(ProblemError, match="form_malformed"):
        await read_form([END], content_type)


async def test_a_preamble_flood_is_cut_off_early(post: Post) -> None:
    sent = 0

    async def flood() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 65536
            yield b"x" * 65536

    status, problem = await post(flood(), Content_Type=TYPE)
    assert (status, problem["code"]) == (413, "form_overhead_too_large")


async def test_fields_are_read_before_the_file_and_behind_it() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield part(b"batch\r\n", FIELD)
        yield part(b"data\r\n", FILE)
        yield part("ä\r\n".encode(), 'Content-Disposition: form-data; name="more[x]"')
        yield part(b"1\r\n", 'Content-Disposition: form-data; name="twice"') * 2
        yield part(b"1\r\n", "Content-Disposition: form-data")
        yield END

    form = FormFile(body(), TYPE)
    await form.open()
    assert (form.filename, form.field("purpose"), form.field("more[x]")) == ("a.png", "batch", None)
    assert b"".join([piece async for piece in form.content()]) == b"data"
    assert (form.field("more[x]"), form.field("none")) == ("ä", None)
    with pytest.raises(ProblemError) as caught:
        form.field("twice")
    assert caught.value.problem.code == "form_field_repeated"


@pytest.mark.parametrize(
    ("disposition", "filename"),
    [
        ('form-data; name="file"', None),
        ('form-data; name="file"; filename="ä b.png"', "ä b.png"),
        ('form-data; name="file"; filename="a\\"b"', 'a"b'),
        ("form-data; name=file; filename*=UTF-8''%C3%A4.png", "ä.png"),
    ],
)
async def test_a_file_has_the_name_that_its_part_says(
    disposition: str, filename: str | None
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield part(b"data\r\n", f"Content-Disposition: {disposition}") + END

    form = FormFile(body(), TYPE)
    await form.open()
    assert form.filename == filename


async def test_the_file_may_be_another_field() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield part(b"data\r\n", 'Content-Disposition: form-data; name="data"') + END

    form = FormFile(body(), TYPE, file_field="data")
    await form.open()
    assert b"".join([piece async for piece in form.content()]) == b"data"
