"""Long lists are read by spans, which are a second copy of their messages and nothing else."""

from collections.abc import Awaitable, Callable, Sequence

import pytest

from coatcheck.protocol import Digest, prompt_root, prompt_step
from coatcheck.store import PromptMessage, Store
from coatcheck.store.database import Database
from coatcheck.store.prompt_span import SPAN_MESSAGES

Databases = Callable[[Store], tuple[Database, Database]]

CHAT = "openai.chat"
ROOT = prompt_root(CHAT)
DAY = 24 * 3600
LENGTH = 2 * SPAN_MESSAGES + 3


def steps(parent: Digest, texts: Sequence[str]) -> list[PromptMessage]:
    messages: list[PromptMessage] = []
    for text in texts:
        parent = prompt_step(parent, text)
        messages.append(PromptMessage(parent, text))
    return messages


LIST = steps(ROOT, [f'"message {number}"' for number in range(LENGTH)])
TEXTS = [message.text for message in LIST]


async def kept(store: Store, messages: Sequence[PromptMessage] = LIST, at_once: int = 50) -> None:
    parent = ROOT
    for start in range(0, len(messages), at_once):
        some = messages[start : start + at_once]
        await store.prompts.append("a", CHAT, parent, some)
        await store.prompts.flush()
        parent = some[-1].digest


async def spans(database: Database) -> list[int]:
    """Return at which depths there are spans."""
    asked = "SELECT depth FROM prompts WHERE span IS NOT NULL ORDER BY depth, digest"
    return await database.run(lambda c: list(c.exec_driver_sql(asked).scalars()))


@pytest.mark.parametrize("at_once", [1, 50, LENGTH])
async def test_every_beginning_of_a_long_list_expands(
    store: Store, databases: Databases, at_once: int
) -> None:
    await kept(store, at_once=at_once)
    assert await spans(databases(store)[1]) == [SPAN_MESSAGES, 2 * SPAN_MESSAGES]
    for count in (1, SPAN_MESSAGES - 1, SPAN_MESSAGES, SPAN_MESSAGES + 1, LENGTH - 1, LENGTH):
        expanded = await store.prompts.expand("a", CHAT, LIST[count - 1].digest)
        assert expanded == TEXTS[:count]


async def test_a_branch_within_a_span_has_its_own(store: Store, databases: Databases) -> None:
    await kept(store)
    at = SPAN_MESSAGES + 5
    branch = steps(LIST[at - 1].digest, [f'"other {number}"' for number in range(SPAN_MESSAGES)])
    await store.prompts.append("a", CHAT, LIST[at - 1].digest, branch)
    await store.prompts.flush()
    expected = [SPAN_MESSAGES, 2 * SPAN_MESSAGES, 2 * SPAN_MESSAGES]
    assert await spans(databases(store)[1]) == expected
    expanded = await store.prompts.expand("a", CHAT, branch[-1].digest)
    assert expanded == TEXTS[:at] + [message.text for message in branch]
    assert await store.prompts.expand("a", CHAT, LIST[-1].digest) == TEXTS


@pytest.mark.parametrize("damage", ["span = replace(span, '7', '8')", "span_parent = parent"])
async def test_a_span_that_rots_is_made_again(
    store: Store,
    databases: Databases,
    now: list[float],
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    await kept(store)
    _, database = databases(store)
    changed = f"UPDATE prompts SET {damage} WHERE depth = {SPAN_MESSAGES}"
    await database.run(lambda c: c.exec_driver_sql(changed))
    assert await store.prompts.expand("a", CHAT, LIST[-1].digest) == TEXTS
    assert "is not what was kept" in caplog.text
    assert store.prompts.damaged_messages == 1
    assert await spans(database) == [2 * SPAN_MESSAGES]
    now[0] += DAY / 2
    assert await store.prompts.expand("a", CHAT, LIST[-1].digest) == TEXTS  # which renews it
    await store.prompts.flush()
    assert await spans(database) == [SPAN_MESSAGES, 2 * SPAN_MESSAGES]
    assert await store.prompts.expand("a", CHAT, LIST[-1].digest) == TEXTS


async def test_lists_from_before_get_their_spans_when_they_are_used(
    store: Store, databases: Databases, now: list[float]
) -> None:
    await kept(store)
    _, database = databases(store)
    away = "UPDATE prompts SET span = NULL, span_parent = NULL, span_checksum = NULL"
    await database.run(lambda c: c.exec_driver_sql(away))
    now[0] += DAY / 2
    for _ in range(2):
        assert await store.prompts.expand("a", CHAT, LIST[-1].digest) == TEXTS
        await store.prompts.flush()
        assert await spans(database) == [SPAN_MESSAGES, 2 * SPAN_MESSAGES]
    now[0] += DAY * 0.9
    assert await store.prompts.expand("a", CHAT, LIST[0].digest) == TEXTS[:1]


async def test_a_message_that_rotted_is_in_no_span(store: Store, databases: Databases) -> None:
    await kept(store, LIST[: SPAN_MESSAGES - 1])
    _, database = databases(store)
    await database.run(
        lambda c: c.exec_driver_sql("UPDATE prompts SET text = '\"rot\"' WHERE depth = 7")
    )
    last = LIST[SPAN_MESSAGES - 1]
    await store.prompts.append("a", CHAT, LIST[SPAN_MESSAGES - 2].digest, [last])
    await store.prompts.flush()
    assert await spans(database) == []
    assert await store.prompts.expand("a", CHAT, last.digest) is None


async def test_texts_that_a_span_cannot_keep_apart_are_read_one_by_one(
    store: Store, databases: Databases
) -> None:
    messages = steps(ROOT, ["no\x1eJSON"] * LENGTH)
    await kept(store, messages)
    assert await spans(databases(store)[1]) == []
    expanded = await store.prompts.expand("a", CHAT, messages[-1].digest)
    assert expanded == ["no\x1eJSON"] * LENGTH


async def test_what_is_erased_is_in_no_span(store: Store, databases: Databases) -> None:
    await store.prompts.append("a", CHAT, ROOT, LIST[:10])
    await store.prompts.append("a", CHAT, LIST[9].digest, LIST[10:11], end_user="ann")
    await store.prompts.append("a", CHAT, LIST[10].digest, LIST[11:])
    await store.prompts.flush()
    while await store.prompts.erase_some("a", "ann"):
        pass
    _, database = databases(store)
    assert await spans(database) == []
    asked = "SELECT count(*) FROM prompts"
    assert await database.run(lambda c: c.exec_driver_sql(asked).scalar_one()) == 10


async def test_what_expires_takes_its_spans_along(
    store: Store, databases: Databases, now: list[float]
) -> None:
    await kept(store)
    now[0] += DAY / 2
    beginning = LIST[SPAN_MESSAGES - 2].digest
    assert await store.prompts.expand("a", CHAT, beginning) == TEXTS[: SPAN_MESSAGES - 1]
    await store.prompts.flush()
    now[0] += DAY * 0.9
    await store.prompts.sweep()
    assert await spans(databases(store)[1]) == []
    assert await store.prompts.expand("a", CHAT, LIST[-1].digest) is None
    assert await store.prompts.expand("a", CHAT, beginning) == TEXTS[: SPAN_MESSAGES - 1]


async def test_a_long_list_takes_few_steps(
    store: Store, databases: Databases, watch: Callable[[Store], Awaitable[list[str]]]
) -> None:
    messages = steps(ROOT, [f'"{number}"' for number in range(5_000)])
    await kept(store, messages, at_once=5_000)
    statements = await watch(store)
    await store.prompts.expand("a", CHAT, messages[-1].digest)
    (asked,) = [text for text in statements if "SELECT" in text]
    rows = await databases(store)[1].run(lambda c: len(c.exec_driver_sql(asked).all()))
    assert rows == 5_000 // SPAN_MESSAGES + 5_000 % SPAN_MESSAGES
