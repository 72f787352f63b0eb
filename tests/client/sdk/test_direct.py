"""Going without Coatcheck."""

import base64
import re
from pathlib import Path

import pytest

from coatcheck.client.exchange import Reply
from coatcheck.client.sdk.direct import AWAY, inlined, is_away, unresolved
from coatcheck.client.sdk.sources import Sources
from coatcheck.protocol import Digest, JsonObject, Pointer, dialect

DATA = b"\x89PNG\r\n\x1a\n" + bytes(50)
DIGEST = Digest.of(DATA)
POINTER = base64.b64encode(str(Pointer(DIGEST, len(DATA))).encode()).decode()
FILE_ID = "file-cc" + "a" * 24
JSON = {"content-type": "application/json"}


def test_codes_that_say_so_are_documented() -> None:
    text = Path(__file__).parents[3].joinpath("docs/errors.md").read_text("utf-8")
    documented = dict(re.findall(r"^\| `([a-z0-9_]+)` \| (\d+)", text, re.MULTILINE))
    assert {documented[code] for code in AWAY} == {"502", "503"}
    sdks = Path(__file__).parents[3].joinpath("docs/sdks.md").read_text("utf-8")
    assert all(f"`{code}`" in sdks for code in AWAY)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(503, JSON, b'{"error":{"code":"store_unavailable"}}'), True),
        (Reply(503, JSON, b'{"error":{"details":{"error_code":"store_closed"}}}'), True),
        (Reply(502, {"content-type": "text/html"}, b"<html>"), True),
        (Reply(502, {}), True),
        (Reply(502, {"content-type": "text/html", "coatcheck-prompt": DIGEST}, b"<html>"), False),
        (
            Reply(
                502,
                JSON | {"coatcheck-prompt": DIGEST},
                b'{"error":{"code":"upstream_unreachable"}}',
            ),
            True,
        ),
        (Reply(503, JSON, b'{"error":{"code":"overloaded"}}'), False),
        (Reply(503, JSON, b"{}"), False),
        (Reply(404, JSON, b'{"error":{"code":"store_closed"}}'), False),
        (Reply(200, JSON, b"{}"), False),
    ],
)
def test_what_says_that_nobody_took_it(reply: Reply, expected: bool) -> None:
    assert is_away(reply) is expected


def _body(*parts: JsonObject) -> JsonObject:
    return {"contents": [{"role": "user", "parts": [{"text": "What?"}, *parts]}]}


def test_bytes_at_hand_take_the_place_of_pointers() -> None:
    gemini, sources = dialect("gemini.generate"), Sources()
    inline: JsonObject = {"inlineData": {"mimeType": "image/png", "data": POINTER}}
    body = _body(inline)
    with sources.holding({DIGEST: DATA}):
        whole, left = inlined(body, gemini, sources)
    assert not left
    text = base64.b64encode(DATA).decode()
    assert whole == _body({"inlineData": {"mimeType": "image/png", "data": text}})
    assert body == _body({"inlineData": {"mimeType": "image/png", "data": POINTER}})
    assert inlined(body, gemini, sources) == (None, ["contents.0.parts.1.inlineData"])


def test_what_stays_is_named() -> None:
    gemini = dialect("gemini.generate")
    ours: JsonObject = {"fileData": {"fileUri": f"blob:{DIGEST}"}}
    file: JsonObject = {"fileData": {"fileUri": f"files/{FILE_ID}"}}
    theirs: JsonObject = {"fileData": {"fileUri": "files/abc"}}
    whole, left = inlined(_body(ours, theirs, file), gemini, Sources())
    assert whole is None
    assert left == ["contents.0.parts.1.fileData", "contents.0.parts.3.fileData"]
    problem = unresolved(left * 5)
    assert problem.code == "coatcheck_away"
    assert "and 2 more" in problem.detail
