"""What is known of texts that are met again."""

import base64
import subprocess
import sys

import pytest

from coatcheck.client.sdk.known import SdkKnown
from coatcheck.protocol import (
    Digest,
    FoundInline,
    JsonObject,
    decode_json,
    dialect,
    encode_json,
    shorten_json,
)

DATA = bytes(range(256)) * 40
TEXT = base64.b64encode(DATA).decode()
URL = f"data:image/png;base64,{TEXT}"


def found_in(url: str, *, is_taken: bool) -> FoundInline:
    """Return what a chat's message has inline, as a string or as what was taken out of JSON."""
    part: JsonObject = {"type": "image_url", "image_url": {"url": url}}
    body: JsonObject = {"messages": [{"role": "user", "content": [part]}]}
    if is_taken:
        read = decode_json(shorten_json(encode_json(body)), keeps_taken=True)
        assert isinstance(read, dict)
        body = read
    (slot,) = dialect("openai.chat").walk(body["messages"])
    assert isinstance(slot.found, FoundInline)
    return slot.found


@pytest.mark.parametrize("is_taken", [False, True])
def test_a_text_is_named_by_its_bytes_whenever_it_is_met(is_taken: bool) -> None:
    known = SdkKnown()
    for _ in range(2):
        named = known.name_bytes(found_in(URL, is_taken=is_taken))
        assert named is not None
        assert named.digest == Digest.of(DATA)
    other = f"{URL[:-8]}AAAAAAA="
    named = known.name_bytes(found_in(other, is_taken=is_taken))
    assert named is not None
    assert named.digest == Digest.of(base64.b64decode(f"{TEXT[:-8]}AAAAAAA="))


def test_what_is_no_strict_base64_has_no_name() -> None:
    known = SdkKnown()
    for _ in range(2):
        assert known.name_bytes(found_in(f"{URL[:-4]}AAB=", is_taken=False)) is None


def test_where_hashes_have_no_key_texts_are_read() -> None:
    program = (
        "from coatcheck.client.sdk.known import SdkKnown; print(vars(SdkKnown())['_is_keyed'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
