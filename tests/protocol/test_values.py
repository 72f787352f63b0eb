"""Small values: media types, digest fields, descriptors, problems, dialect names."""

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from coatcheck.protocol import (
    Descriptor,
    Digest,
    Hasher,
    InvalidFieldDigestError,
    InvalidMediaTypeError,
    Problem,
    UnknownDialectError,
    dialect,
    digest_algorithms,
    format_digest_field,
    parse_digest_field,
    parse_digest_preference,
    parse_media_type,
    parse_pointer,
)

DIGEST = Digest.of(b"x")


@pytest.mark.parametrize(
    ("text", "essence"),
    [("image/png", "image/png"), ("Image/PNG; q=1", "image/png"), (" a/b+c ", "a/b+c")],
)
def test_media_types_are_folded(text: str, essence: str) -> None:
    assert parse_media_type(text) == essence


@pytest.mark.parametrize("text", ["", "png", "a/b/c", "a /b", "a/b\r\nX: 1", "ä/b", "/", "a/"])
def test_malformed_media_types_are_refused(text: str) -> None:
    with pytest.raises(InvalidMediaTypeError):
        parse_media_type(text)


def test_digest_fields_read_and_write() -> None:
    field = format_digest_field(DIGEST)
    assert parse_digest_field(field) == DIGEST
    assert parse_digest_field(f"md5=:AAAA:, {field};x=1") == DIGEST
    assert parse_digest_field("sha-512=:AAAA:") is None

    assert parse_digest_field(f'x=:AA==:;note="a, b";n , {field}') == DIGEST
    assert parse_digest_field(f"sha-256=:AAAA:, {field}") == DIGEST  # the last of a name counts
    assert parse_digest_field("") is None
    assert digest_algorithms(f"md5=:AAAA:, {field}, id-sha=:AA==:") == ["md5", "sha-256", "id-sha"]


@pytest.mark.parametrize(
    "text",
    [
        "sha-256",
        "sha-256=abc",
        "sha-256=1",
        "sha-256=(:AAAA:)",
        "sha-256=:AAAA:",
        "sha-256=:@:",
        "sha-256=:A:",
        f"{format_digest_field(DIGEST)},",
        f"{format_digest_field(DIGEST)}, md5=5",
        f"{format_digest_field(DIGEST)} md5=:AAAA:",
        f"SHA-256{format_digest_field(DIGEST)[7:]}",
        f"{format_digest_field(DIGEST)};x=é",
        f"{format_digest_field(DIGEST)};x=@99999999999999",
    ],
)
def test_malformed_digest_fields_are_refused(text: str) -> None:
    with pytest.raises(InvalidFieldDigestError):
        parse_digest_field(text)


@given(st.text(max_size=60) | st.text('sha-256=:;, ()@%"0x\ud800', max_size=60))
def test_any_text_is_a_digest_field_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidFieldDigestError):
        parse_digest_field(text)
    assert parse_digest_preference(text) in (None, *range(11))


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        ("sha-256=1", 1),
        ("sha-256=0", 0),
        ("sha-512=3, sha-256=10;x, unixsum=0", 10),
        ("sha-256=1, sha-256=2", 2),
        ("sha-512=10", None),
        ("", None),
        ("sha-256", None),
        ("sha-256=11", None),
        ("sha-256=-1", None),
        ("sha-256=1.0", None),
        ("sha-256=?1", None),
        ("sha-256=5, sha-512=11", None),
        ("sha-256=5, sha-512", None),
        ("sha-256=5,", None),
        ("sha-256: 5", None),
    ],
)
def test_a_preference_has_a_weight_or_is_ignored(text: str, weight: int | None) -> None:
    assert parse_digest_preference(text) == weight


def test_a_descriptor_leaves_out_what_is_not_known() -> None:
    described = Descriptor.of(digest=DIGEST, size=1, media_type="text/plain")
    assert described.model_dump(exclude_none=True) == {
        "digest": DIGEST,
        "ref": f"blob:{DIGEST}",
        "size": 1,
        "media_type": "text/plain",
    }
    pointer = parse_pointer(described.pointer.encode())
    assert pointer
    assert (pointer.digest, pointer.size) == (DIGEST, 1)


def test_a_digest_is_validated_in_models() -> None:
    class Model(BaseModel):
        digest: Digest

    assert isinstance(Model.model_validate_json(f'{{"digest":"{DIGEST}"}}').digest, Digest)
    assert Model.model_json_schema()["properties"]["digest"]["pattern"].startswith("^sha256:")
    with pytest.raises(ValidationError, match="sha256"):
        Model.model_validate({"digest": "sha256:x"})
    with pytest.raises(ValidationError):
        Model.model_validate({"digest": 7})


def test_a_problem_carries_its_code() -> None:
    problem = Problem(404, "blob_not_found", "Missing", "gone", {"missing": []})
    assert problem.to_json() == {
        "type": "urn:coatcheck:problem:blob_not_found",
        "title": "Missing",
        "status": 404,
        "code": "blob_not_found",
        "detail": "gone",
        "missing": [],
    }


def test_an_unknown_dialect_is_named() -> None:
    with pytest.raises(UnknownDialectError, match=r"openai\.chat"):
        dialect("nonsense")


@given(
    st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5), st.integers(0, 2**64 - 1)
)
def test_hashing_does_not_depend_on_the_cuts(data: bytes, cuts: list[int], seed: int) -> None:
    whole, pieces = Hasher(seed), Hasher(seed)
    whole.update(data)
    start = 0
    for cut in [*sorted(cuts), len(data)]:
        pieces.update(memoryview(data)[start:cut])
        start = max(start, min(cut, len(data)))
    assert pieces.digest() == whole.digest() == Digest.of(data)
    assert pieces.checksums() == whole.checksums()
    assert base64.b64encode(pieces.digest().raw)
