"""Only what is replaced changes; everything else is written as it was read."""

import json

from coatcheck.daemon.body import Base64Of
from coatcheck.daemon.source import Resolved
from coatcheck.daemon.splice import Filling, splice
from coatcheck.protocol import Digest, JsonObject, decode_json, dialect

BLOB = Resolved(Digest.of(b"x"), 1, "image/png")


def test_the_text_is_cut_where_blobs_go() -> None:
    url = f"blob:{BLOB.digest}"
    body: JsonObject = {
        "n": 9007199254740993,
        "d": 1e-7,
        "messages": [
            {"role": "user", "content": [{"image_url": {"url": url}}, {"image_url": {"url": url}}]}
        ],
        "z": "é",
    }
    slots = dialect("openai.chat").walk(body["messages"])
    segments = splice(body, [Filling(slot, BLOB, "image/png") for slot in slots], b"n" * 16)
    whole = b"".join(s if isinstance(s, bytes) else b"AAAA" for s in segments)
    assert [type(segment) for segment in segments] == [bytes, Base64Of, bytes, Base64Of, bytes]
    expected = json.loads(json.dumps(body).replace(url, "data:image/png;base64,AAAA"))
    messages = expected["messages"][0]["content"]
    for part in messages:
        part["image_url"]["url"] = "data:image/png;base64,AAAA"
    assert decode_json(whole) == expected
    assert b'"n":9007199254740993,"d":1e-07' in whole


def test_a_body_without_fillings_is_one_text() -> None:
    assert splice({"a": "@" + "6e" * 16 + ":0@"}, [], b"m" * 16) == [
        b'{"a":"@' + b"6e" * 16 + b':0@"}'
    ]
