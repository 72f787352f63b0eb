"""A turn that asks is told what became of the conversation's prefix, and where it broke."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from coatcheck.daemon.prefix_guard import KEY_BYTES, PrefixGuard
from coatcheck.protocol import (
    DIALECTS,
    Json,
    JsonObject,
    PrefixReport,
    encode_json,
    write_prefix,
)

Fixture = Callable[..., Any]


def said(*texts: str) -> list[Json]:
    return [
        {"role": "user" if at % 2 == 0 else "assistant", "content": text}
        for at, text in enumerate(texts)
    ]


class Conversation:
    """Asks a guard, always as the same tenant."""

    def __init__(self, **bounds: int) -> None:
        self.guard = PrefixGuard(os.urandom(KEY_BYTES), **bounds)

    def ask(
        self,
        messages: list[Json],
        *,
        tenant: str = "a",
        model: str = "m",
        name: str = "openai.chat",
        **leading: Json,
    ) -> str:
        spoken = DIALECTS[name]
        outline = self.guard.outline(tenant, spoken, model, messages, leading, ())
        return write_prefix(self.guard.look(outline))


BEGUN = said("one", "two", "three")


def size(messages: list[Json]) -> int:
    return sum(len(encode_json(message)) for message in messages)


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (said("one", "two", "three"), "kept;messages=3"),
        (said("one", "two", "three", "four", "five"), "kept;messages=3"),
        (said("one", "two"), "new"),  # a part of it
        (said("one", "two", "three, asked otherwise"), "new"),  # a branch
        (said("else", "something", "entirely"), "new"),
    ],
)
def test_a_prefix_that_is_kept_or_not_known(later: list[Json], expected: str) -> None:
    conversation = Conversation()
    assert conversation.ask(BEGUN) == "new"
    assert conversation.ask(later) == expected


@pytest.mark.parametrize(
    ("later", "messages", "role", "change", "end"),
    [
        (said("one", "TWO", "three", "four"), 1, "assistant", "edited", 3),
        ([BEGUN[0], *said("new"), *BEGUN[1:], *said("four")], 1, "user", "inserted", 4),
        ([*BEGUN[1:], *said("four")], 0, "assistant", "removed", 2),
        ([BEGUN[1], BEGUN[0], *BEGUN[1:], *said("four")], 0, "assistant", "moved", 4),
    ],
)
def test_where_a_prefix_broke(
    later: list[Json], messages: int, role: str, change: str, end: int
) -> None:
    """`end` is behind the last of the earlier request's messages: `three`, long enough or after `two`."""
    conversation = Conversation()
    long: Json = {"role": "user", "content": "three" * 60}
    earlier = [*BEGUN[:2], long]
    later = [long if message == BEGUN[2] else message for message in later]
    assert conversation.ask(earlier) == "new"
    lost = size(later[messages:end])
    expected = f'broken;messages={messages};at="messages.{messages}";role={role};change={change}'
    assert conversation.ask(later) == f"{expected};bytes={lost}"


def test_a_short_message_is_known_again_behind_the_one_before_it_alone() -> None:
    conversation = Conversation()
    conversation.ask(BEGUN)
    assert conversation.ask(said("one", "TWO", "three", "four")) == "new"
    assert conversation.ask([*BEGUN[1:], *said("four")]).startswith("broken;messages=0")


@pytest.mark.parametrize(
    ("before", "now", "key"),
    [
        (
            {"tools": [{"type": "function"}]},
            {"tools": [{"type": "function"}], "model": "2"},
            "model",
        ),
        ({"tools": [{"type": "function"}]}, {"tools": []}, "tools"),
        ({"tools": [{"type": "function"}]}, {}, "tools"),
        ({}, {"response_format": {}}, "response_format"),
    ],
)
def test_what_stands_before_the_messages_comes_first(
    before: dict[str, Any], now: dict[str, Any], key: str
) -> None:
    conversation = Conversation()
    conversation.ask(BEGUN, **before)
    longer = said("ONE", "two", "three", "four", "five")
    lost = size(longer[:3])
    expected = f'broken;messages=0;at="{key}";change=edited;bytes={lost}'
    assert conversation.ask(longer, **now) == expected


def test_a_break_is_told_once() -> None:
    conversation = Conversation()
    conversation.ask(BEGUN)
    edited = said("ONE", "two", "three", "four", "five")
    assert conversation.ask(edited).startswith("broken")
    assert conversation.ask([*edited, *said("six")]) == "kept;messages=5"


def test_nobody_hears_of_another_tenants_conversation() -> None:
    conversation = Conversation()
    conversation.ask(BEGUN)
    assert conversation.ask([*BEGUN, *said("four")], tenant="b") == "new"
    assert conversation.ask([*BEGUN, *said("four")], name="anthropic.messages") == "new"


def test_what_is_remembered_is_bounded() -> None:
    conversation = Conversation(max_messages=10)
    for number in range(20):
        conversation.ask(said(f"{number}", "yes", f"{number} again"))
    known = [
        conversation.ask(said(f"{number}", "yes", f"{number} again", "so", "it is")) != "new"
        for number in (0, 19)
    ]
    assert known == [False, True]


def test_a_role_or_a_key_that_does_not_fit_into_a_header_is_left_out() -> None:
    report = PrefixReport("broken", 1, 'mess"ages.1', "any\r\nbody", "edited", 7)
    assert write_prefix(report) == 'broken;messages=1;at="mess?ages.1";change=edited;bytes=7'


async def test_a_turn_that_asks_is_told(run_daemon: Fixture, run_upstream: Fixture) -> None:
    upstream = await run_upstream(models=("m",))
    daemon = await run_daemon(upstream.config)
    asking = {"Coatcheck-Prefix": "1"}

    async def told(body: JsonObject, headers: dict[str, str] = asking) -> str | None:
        status, _, response = await daemon.chat({"model": "m", **body}, headers)
        assert status == 200
        value: str | None = response.headers.get("Coatcheck-Prefix")
        return value

    assert await told({"messages": BEGUN}, {}) is None
    assert await told({"messages": BEGUN}) == "new"
    longer = [*BEGUN, *said("four")]
    assert await told({"messages": longer}) == "kept;messages=3"
    envelope: Json = {"parent": None, "append": [*said("ONE"), *BEGUN[1:], *said("four", "5")]}
    lost = size([*said("ONE"), *longer[1:]])
    broken = f'broken;messages=0;at="messages.0";role=user;change=edited;bytes={lost}'
    assert await told({"coatcheck": envelope}) == broken
    assert all("Coatcheck-Prefix" not in seen.headers for seen in upstream.seen)


async def test_an_image_is_the_same_inline_and_by_its_ref(
    run_daemon: Fixture, run_upstream: Fixture, picture: Fixture, data_url: Fixture
) -> None:
    upstream = await run_upstream(models=("m",))
    daemon = await run_daemon(upstream.config)
    ref = f"blob:{daemon.blobs.add(picture())}"
    asking = {"Coatcheck-Prefix": "1"}
    for url, expected in ((data_url(picture()), "new"), (ref, "kept;messages=1")):
        shown: Json = {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": url}}],
        }
        messages: Json = [shown, *(said("and") if expected != "new" else [])]
        _, _, response = await daemon.chat({"model": "m", "messages": messages}, asking)
        assert response.headers["Coatcheck-Prefix"] == expected
