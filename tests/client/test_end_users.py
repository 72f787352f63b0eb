"""Whom a client says that bytes and turns are for."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from coatcheck.client import Client, InvalidArgumentError
from coatcheck.protocol import InvalidEndUserError, JsonObject

if TYPE_CHECKING:
    from tests.client.conftest import FakeServer

DATA = b"a ticket for Ann"
URL = f"data:text/plain;base64,{base64.b64encode(DATA).decode()}"
MESSAGES: list[JsonObject] = [
    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": URL}}]}
]


def told(server: FakeServer) -> list[tuple[str, str | None]]:
    """Return of each request its method and whom it was for."""
    return [(seen.method, seen.headers.get("Coatcheck-User")) for seen in server.seen]


def test_bytes_are_asked_for_and_put_for_an_end_user(client: Client, server: FakeServer) -> None:
    client.put(DATA, end_user="Ann é")
    assert told(server) == [("POST", "Ann é"), ("PUT", "Ann é")]


def test_what_the_server_has_is_claimed_by_asking(client: Client, server: FakeServer) -> None:
    server.put(DATA)
    client.put(DATA, end_user="Ann")
    assert told(server)[0] == ("POST", "Ann")
    assert server.sent("PUT") == []


def test_nobody_is_named_unasked(client: Client, server: FakeServer) -> None:
    client.put(DATA)
    client.chat(model="m", messages=MESSAGES)
    assert {name for _, name in told(server)} == {None}


def test_images_of_messages_are_for_an_end_user(client: Client, server: FakeServer) -> None:
    client.dehydrate(MESSAGES, end_user="Ann")
    assert told(server) == [("POST", "Ann"), ("PUT", "Ann")]


@pytest.mark.parametrize("key", ["user", "safety_identifier"])
def test_a_turns_images_are_for_whom_its_body_names(
    client: Client, server: FakeServer, key: str
) -> None:
    client.chat(model="m", messages=MESSAGES, **{key: "Ann"})  # type: ignore[arg-type]
    assert told(server) == [("POST", "Ann"), ("PUT", "Ann"), ("POST", None)]
    assert server.chats[0].json[key] == "Ann"


def test_a_turns_images_are_for_whom_its_header_names(client: Client, server: FakeServer) -> None:
    client.chat(model="m", messages=MESSAGES, user="Bob", extra_headers={"coatcheck-user": "Ann é"})
    assert told(server)[:2] == [("POST", "Ann é"), ("PUT", "Ann é")]
    assert server.chats[0].headers["coatcheck-user"] == "Ann é"


@pytest.mark.parametrize("name", ["", " a", "a\n", "a" * 257, "\ud800"])
def test_what_nobody_can_be_called_is_refused(
    client: Client, server: FakeServer, name: str
) -> None:
    with pytest.raises(InvalidEndUserError):
        client.put(DATA, end_user=name)
    with pytest.raises(InvalidEndUserError):
        client.chat(model="m", messages=MESSAGES, extra_headers={"Coatcheck-User": name})
    assert server.seen == []


def test_a_body_may_name_what_nobody_can_be_called(client: Client, server: FakeServer) -> None:
    client.chat(model="m", messages=MESSAGES, user="a" * 257)
    assert {name for _, name in told(server)} == {None}


def test_other_headers_stay_ascii(client: Client) -> None:
    with pytest.raises(InvalidArgumentError):
        client.chat(model="m", messages=MESSAGES, extra_headers={"X-Own": "é"})
