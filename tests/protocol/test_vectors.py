"""Every golden vector, both directions: what another implementation would check itself with."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from coatcheck.protocol import (
    DIALECTS,
    FIELD_DIALECT,
    Digest,
    Envelope,
    EnvelopeError,
    FoundRef,
    Hasher,
    InvalidDigestError,
    InvalidRefError,
    Pointer,
    PointerInvalidError,
    PromptDigestError,
    Ref,
    SseEvent,
    SseReader,
    altchars,
    canonical_json,
    dialect,
    dotted,
    field_digest,
    field_prompt,
    fields_of,
    framed,
    is_file_id,
    parse_blob_url,
    parse_pointer,
    parse_ref,
    piece_checksum,
    piece_count,
    prompt_digests,
    prompt_root,
    read_envelope,
    ref_form,
    sniff,
)

Vectors = Callable[[str], Any]


def test_digests_of_texts(vectors: Vectors) -> None:
    for row in vectors("digest")["digests"]:
        digest = Digest.of(row["text"].encode())
        assert digest == row["digest"]
        assert Digest.from_raw(digest.raw) == digest


def test_checksums_of_pieces(vectors: Vectors) -> None:
    for row in vectors("digest")["checksums"]:
        data, seed = bytes([row["byte"]]) * row["repeat"], int(row["seed"])
        hasher = Hasher(seed)
        for start in range(0, len(data), 1_000_003):
            hasher.update(data[start : start + 1_000_003])
        assert hasher.digest() == row["digest"]
        assert hasher.size == row["repeat"]
        assert hasher.checksums().hex() == "".join(row["checksums"])
        assert piece_count(len(data)) == len(row["checksums"])
        assert piece_checksum(data[: 4 * 1024 * 1024], seed).hex() == row["checksums"][0]


def test_malformed_digests_are_refused(vectors: Vectors) -> None:
    for text in vectors("digest")["invalid"]:
        with pytest.raises(InvalidDigestError):
            Digest(text)


def test_refs_read_and_write(vectors: Vectors) -> None:
    for row in vectors("ref")["valid"]:
        ref = Ref(Digest(row["digest"]), row["media_type"])
        assert parse_ref(row["text"]) == ref
        assert str(ref) == row["text"]


def test_malformed_refs_are_refused(vectors: Vectors) -> None:
    for text in vectors("ref")["invalid"]:
        with pytest.raises(InvalidRefError):
            parse_ref(text)


def test_file_ids(vectors: Vectors) -> None:
    ids = vectors("ref")["file_ids"]
    assert all(is_file_id(text) for text in ids["valid"])
    assert not any(is_file_id(text) for text in ids["invalid"])


def test_blob_urls(vectors: Vectors) -> None:
    urls = vectors("ref")["urls"]
    for row in urls["valid"]:
        assert parse_blob_url(row["url"], urls["origins"]) == Ref(Digest(row["digest"]))
    for url in urls["foreign"]:
        assert parse_blob_url(url, urls["origins"]) is None
    for url in urls["malformed"]:
        with pytest.raises(InvalidRefError):
            parse_blob_url(url, urls["origins"])


def test_pointers_read_and_write(vectors: Vectors) -> None:
    table = vectors("pointer")
    for row in table["valid"]:
        pointer = Pointer(Digest(row["digest"]), row["size"])
        assert parse_pointer(row["text"].encode()) == pointer
        assert str(pointer) == row["text"]
    for row in table["also_valid"]:
        assert parse_pointer(row["text"].encode()) == Pointer(Digest(row["digest"]), row["size"])


def test_what_is_no_pointer_is_left_alone(vectors: Vectors) -> None:
    for text in vectors("pointer")["other"]:
        assert parse_pointer(text.encode()) is None


def test_malformed_pointers_are_refused(vectors: Vectors) -> None:
    for text in vectors("pointer")["invalid"]:
        with pytest.raises(PointerInvalidError):
            parse_pointer(text.encode())


def test_prompt_digests_do_not_depend_on_how_a_list_is_cut(vectors: Vectors) -> None:
    for row in vectors("prompt")["lists"]:
        messages, digests = row["messages"], row["digests"]
        assert prompt_root(row["dialect"]) == digests[0]
        assert prompt_digests(row["dialect"], messages) == digests[1:]
        for cut in range(len(messages) + 1):
            tail = prompt_digests(row["dialect"], messages[cut:], Digest(digests[cut]))
            assert tail == digests[cut + 1 :]
        for message, canonical in zip(messages, row.get("canonical", []), strict=False):
            assert canonical_json(message).decode() == canonical


def test_lists_without_a_canonical_form_have_no_digest(vectors: Vectors) -> None:
    for text in vectors("prompt")["impossible"]:
        with pytest.raises(PromptDigestError):
            prompt_digests("openai.chat", json.loads(text))


def test_prompt_digests_of_every_dialects_ref_form(vectors: Vectors) -> None:
    for row in vectors("ref_form")["rows"]:
        assert prompt_digests(row["dialect"], row["ref_form"])[-1] == row["prompt_digest"]


def _implemented(vectors: Vectors) -> list[Any]:
    rows = [row for row in vectors("ref_form")["rows"] if row["dialect"] in DIALECTS]
    assert rows
    return rows


def test_messages_become_their_ref_form(vectors: Vectors) -> None:
    for row in _implemented(vectors):
        before = json.dumps(row["messages"])
        form = ref_form(dialect(row["dialect"]), row["messages"])
        assert json.dumps(form.messages) == json.dumps(row["ref_form"])  # the order of keys too
        assert json.dumps(row["messages"]) == before
        places = iter(form.places)
        inline = [
            (
                next(dotted(path) for path, digest in places if digest == blob.digest),
                blob.digest,
                base64.b64encode(blob.decode(), altchars(blob.found.is_url_safe)).decode(),
                blob.media_type,
            )
            for blob in form.inline
        ]
        assert inline == [
            (b["path"], b["digest"], b["base64"], b["media_type"]) for b in row["inline"]
        ]


def test_ref_form_becomes_messages_again(vectors: Vectors) -> None:
    for row in _implemented(vectors):
        inline = {blob["digest"]: blob for blob in row["inline"]}
        messages = json.loads(json.dumps(row["ref_form"]))
        filled = 0
        for slot in dialect(row["dialect"]).walk(messages):
            blob = inline.get(slot.found.ref.digest) if isinstance(slot.found, FoundRef) else None
            if blob:
                slot.put_inline(blob["media_type"] or "image/png", blob["base64"])
                filled += 1
        assert filled == len(row["inline"])
        assert ref_form(dialect(row["dialect"]), messages).messages == row["ref_form"]


def test_first_bytes_show_types(vectors: Vectors) -> None:
    for row in vectors("sniff")["heads"]:
        assert sniff(base64.b64decode(row["base64"])) == row["media_type"], row


def test_envelopes_read_and_write(vectors: Vectors) -> None:
    for row in vectors("envelope")["valid"]:
        envelope = read_envelope(row["body"], dialect(row.get("dialect", "openai.chat")))
        assert envelope == Envelope(row["parent"], row["append"], row["fields"])
        assert envelope is not None
        assert envelope.to_json() == row["body"]["coatcheck"]
    for body in vectors("envelope")["absent"]:
        assert read_envelope(body, DIALECTS["openai.chat"]) is None


def test_malformed_envelopes_are_refused_by_path(vectors: Vectors) -> None:
    for row in vectors("envelope")["invalid"]:
        with pytest.raises(EnvelopeError) as caught:
            read_envelope(row["body"], dialect(row.get("dialect", "openai.chat")))
        assert caught.value.path == row["path"], row


def test_fields_and_what_is_none(vectors: Vectors) -> None:
    for row in vectors("field")["values"]:
        digest = field_digest(row["value"])
        assert digest == row["digest"], row
        assert (digest and field_prompt(digest)) == row["kept_as"]
        if digest:
            kept_as = prompt_digests(FIELD_DIALECT, [row["value"]])
            assert kept_as == [row["kept_as"]]
    for row in vectors("field")["bodies"]:
        spoken = dialect(row["dialect"])
        left = fields_of(framed(spoken, row["body"]), spoken)
        assert {field.key: field.digest for field in left} == row["fields"]


def test_event_streams_cut_at_every_byte(vectors: Vectors) -> None:
    for row in vectors("sse")["streams"]:
        data = row["text"].encode()
        for cut in range(len(data) + 1):
            reader = SseReader()
            events = reader.feed(data[:cut]) + reader.feed(data[cut:])
            assert [[event.event, event.data] for event in events] == row["events"], (row, cut)
        reader = SseReader()
        one_by_one: list[SseEvent] = []
        for at in range(len(data)):
            one_by_one += reader.feed(data[at : at + 1])
        assert [[event.event, event.data] for event in one_by_one] == row["events"]
