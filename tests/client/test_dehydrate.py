"""Messages to ref form."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from coatcheck.client import Client, InvalidArgumentError
from coatcheck.protocol import (
    Descriptor,
    Digest,
    JsonObject,
    MalformedMessageError,
    UnknownDialectError,
    dialect,
    ref_form,
)

if TYPE_CHECKING:
    from tests.client.conftest import FakeServer

WAV = b"RIFF\x24\x00\x00\x00WAVEfmt "
PDF = b"%PDF-1.7 a coat"
_PDF = "application/pdf"


def _png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()


def _url(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _messages() -> list[JsonObject]:
    pointer = Descriptor.of(digest=Digest.of(b"p"), size=1, media_type="image/png").pointer
    return [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look", "extra": [1, 2.5, None, True, {"deep": "er"}]},
                {"type": "image_url", "image_url": {"url": _url(_png(), "image/png")}},
                {"type": "image_url", "image_url": {"url": _url(_png(), "IMAGE/X-Coat")}},
                {"type": "image_url", "image_url": _url(_png(), "image/png")},
                {"type": "image_url", "image_url": {"url": "https://example.org/coat.png"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,not base64"}},
                {"type": "image_url", "image_url": {"url": f"blob:{Digest.of(b'r')}"}},
                {"type": "image_url", "image_url": {"url": _url(pointer.encode(), "image/png")}},
                {
                    "type": "input_audio",
                    "input_audio": {"data": base64.b64encode(WAV).decode(), "format": "wav"},
                },
                {
                    "type": "file",
                    "file": {"filename": "a.pdf", "file_data": _url(PDF, "application/pdf")},
                },
            ],
        },
    ]


def test_the_result_is_the_protocols_ref_form(client: Client) -> None:
    messages = _messages()
    assert client.dehydrate(messages) == ref_form(dialect("openai.chat"), messages).messages
    assert messages == _messages()


def test_a_dehydrated_list_stays_as_it_is(client: Client, server: FakeServer) -> None:
    once = client.dehydrate(_messages())
    server.seen.clear()
    assert client.dehydrate(once) == once
    assert server.seen == []


def test_declared_types_go_along(client: Client, server: FakeServer) -> None:
    client.dehydrate(_messages())
    types = {seen.headers.get("Content-Type") for seen in server.sent("PUT")}
    assert types <= {"image/png", "image/x-coat", "application/pdf", None}
    assert set(server.blobs) == {Digest.of(data) for data in (_png(), WAV, PDF)}


def test_tuples_are_lists(client: Client) -> None:
    message = {"role": "user", "content": ({"type": "text", "text": "x"},)}
    assert client.dehydrate([message]) == [
        {"role": "user", "content": [{"type": "text", "text": "x"}]}
    ]


def test_an_unknown_dialect_is_named(client: Client) -> None:
    with pytest.raises(UnknownDialectError, match="esperanto"):
        client.dehydrate([], "esperanto")


def test_a_malformed_ref_is_named_by_path(client: Client) -> None:
    part: JsonObject = {"type": "image_url", "image_url": {"url": "blob:sha256:12"}}
    with pytest.raises(MalformedMessageError, match=r"messages\.0\.content\.0\.image_url"):
        client.dehydrate([{"role": "user", "content": [part]}])


def test_a_list_that_holds_itself_is_refused(client: Client) -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(InvalidArgumentError, match="nested deeper"):
        client.dehydrate([{"role": "user", "content": endless}])


DATA = base64.b64encode(PDF).decode()
IN_DIALECTS: dict[str, tuple[JsonObject, str]] = {
    "openai.responses": (
        {
            "role": "user",
            "content": [{"type": "input_file", "file_data": f"data:{_PDF};base64,{DATA}"}],
        },
        "file_data",
    ),
    "anthropic.messages": (
        {
            "role": "user",
            "content": [
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": _PDF, "data": DATA},
                }
            ],
        },
        "url",
    ),
    "gemini.generate": (
        {"role": "user", "parts": [{"inlineData": {"mimeType": _PDF, "data": DATA}}]},
        "fileUri",
    ),
    "dify.llm": (
        {
            "role": "user",
            "content": [
                {"type": "document", "base64_data": DATA, "url": "", "mime_type": _PDF},
            ],
        },
        "url",
    ),
}


@pytest.mark.parametrize("name", IN_DIALECTS)
def test_every_dialect_is_dehydrated(client: Client, server: FakeServer, name: str) -> None:
    message, key = IN_DIALECTS[name]
    (short,) = client.dehydrate([message], dialect=name)
    assert f'"{key}": "blob:{Digest.of(PDF)}"' in json.dumps(short)
    assert Digest.of(PDF) in server.blobs
