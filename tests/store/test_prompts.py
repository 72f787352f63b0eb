"""Kept prompts: whole or not at all, for their tenant and dialect only, and not for ever."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine

from coatcheck.protocol import Digest, prompt_root, prompt_step
from coatcheck.store import (
    PromptMessage,
    PromptNotFoundError,
    PromptTooLargeError,
    Receipt,
    Store,
    StoreClosedError,
    StoreConfig,
    StoreFullError,
    prompt_table,
)
from coatcheck.store.database import Database
from coatcheck.store.migrate import migrate
from coatcheck.store.prompt_row import MESSAGE_BYTES, NAME_BYTES, PromptKey

Put = Callable[..., Awaitable[Receipt]]
Open = Callable[[StoreConfig], Awaitable[Store]]

CHAT = "openai.chat"
ROOT = prompt_root(CHAT)
DAY = 24 * 3600


def steps(parent: Digest, texts: Sequence[str]) -> list[PromptMessage]:
    """Return messages behind a parent, each with its digest."""
    messages: list[PromptMessage] = []
    for text in texts:
        parent = prompt_step(parent, text)
        messages.append(PromptMessage(parent, text))
    return messages


@pytest.fixture(params=["pending", "written"])
def settle(request: pytest.FixtureRequest) -> Callable[[Store], Awaitable[None]]:
    """Let what was appended wait, or be written, before the test goes on."""

    async def wait(store: Store) -> None:
        if request.param == "written":
            await store.prompts.flush()

    return wait


Settle = Callable[[Store], Awaitable[None]]


async def test_what_was_appended_expands_at_once(store: Store, settle: Settle) -> None:
    messages = steps(ROOT, ["one", "two", "three"])
    await store.prompts.append("a", CHAT, ROOT, messages[:2])
    await settle(store)
    await store.prompts.append("a", CHAT, messages[1].digest, messages[2:])
    await settle(store)
    assert await store.prompts.expand("a", CHAT, messages[2].digest) == ["one", "two", "three"]
    assert await store.prompts.expand("a", CHAT, messages[0].digest) == ["one"]


async def test_a_branch_is_another_child(store: Store, settle: Settle) -> None:
    trunk = steps(ROOT, ["one"])
    left = steps(trunk[0].digest, ["left"])
    right = steps(trunk[0].digest, ["right", "further"])
    await store.prompts.append("a", CHAT, ROOT, trunk)
    await settle(store)
    await store.prompts.append("a", CHAT, trunk[0].digest, left)
    await store.prompts.append("a", CHAT, trunk[0].digest, right)
    await settle(store)
    assert await store.prompts.expand("a", CHAT, left[-1].digest) == ["one", "left"]
    assert await store.prompts.expand("a", CHAT, right[-1].digest) == ["one", "right", "further"]


async def test_another_tenant_or_dialect_has_no_such_prompt(store: Store, settle: Settle) -> None:
    messages = steps(ROOT, ["one"])
    digest = messages[0].digest
    await store.prompts.append("a", CHAT, ROOT, messages)
    await settle(store)
    assert await store.prompts.expand("b", CHAT, digest) is None
    assert await store.prompts.expand("a", "anthropic.messages", digest) is None
    assert await store.prompts.expand("a", CHAT, Digest.of(b"unknown")) is None
    for tenant, dialect in (("b", CHAT), ("a", "anthropic.messages")):
        with pytest.raises(PromptNotFoundError):
            await store.prompts.append(tenant, dialect, digest, steps(digest, ["two"]))


async def test_the_root_is_a_prompt_of_no_messages(store: Store) -> None:
    assert await store.prompts.expand("a", CHAT, ROOT) == []
    assert await store.prompts.expand("a", "anthropic.messages", ROOT) is None


async def test_appending_nothing_keeps_nothing(store: Store) -> None:
    await store.prompts.append("a", CHAT, ROOT, [])
    assert await store.prompts.count() == 0


async def test_counting_waits_for_no_writing(store: Store) -> None:
    await store.prompts.append("a", CHAT, ROOT, steps(ROOT, ["one"]))
    assert await store.prompts.count() == 0
    await store.prompts.flush()
    assert await store.prompts.count() == 1


async def test_appending_again_keeps_the_first_text(store: Store) -> None:
    message = steps(ROOT, ["one"])[0]
    await store.prompts.append("a", CHAT, ROOT, [message])
    await store.prompts.flush()
    await store.prompts.append("a", CHAT, ROOT, [PromptMessage(message.digest, "o n e")])
    await store.prompts.flush()
    assert await store.prompts.expand("a", CHAT, message.digest) == ["one"]
    assert await store.prompts.count() == 1


async def test_a_prompt_expires(store: Store, settle: Settle, now: list[float]) -> None:
    messages = steps(ROOT, ["one", "two"])
    await store.prompts.append("a", CHAT, ROOT, messages)
    await settle(store)
    now[0] += DAY
    assert await store.prompts.expand("a", CHAT, messages[-1].digest) is None
    with pytest.raises(PromptNotFoundError):
        await store.prompts.append("a", CHAT, messages[-1].digest, [])
    assert await store.prompts.count() == 0


async def test_an_expand_keeps_the_whole_list(
    store: Store, settle: Settle, now: list[float]
) -> None:
    messages = steps(ROOT, ["one", "two", "three"])
    await store.prompts.append("a", CHAT, ROOT, messages)
    for _ in range(3):
        await settle(store)
        now[0] += DAY - 1
        assert await store.prompts.expand("a", CHAT, messages[1].digest) == ["one", "two"]
    await store.prompts.flush()
    assert await store.prompts.expand("a", CHAT, messages[0].digest) == ["one"]
    assert await store.prompts.expand("a", CHAT, messages[2].digest) is None


async def test_asking_for_a_prompt_keeps_it(store: Store, settle: Settle, now: list[float]) -> None:
    messages = steps(ROOT, ["one", "two"])
    await store.prompts.append("a", CHAT, ROOT, messages)
    await settle(store)
    for _ in range(3):
        now[0] += DAY - 1
        assert await store.prompts.has("a", CHAT, messages[1].digest)
        await settle(store)
    await store.prompts.flush()
    assert await store.prompts.expand("a", CHAT, messages[0].digest) == ["one"]
    assert await store.prompts.has("a", CHAT, ROOT)
    assert not await store.prompts.has("b", CHAT, messages[1].digest)
    now[0] += DAY
    assert not await store.prompts.has("a", CHAT, messages[1].digest)


async def test_an_append_keeps_what_it_continues(
    store: Store, settle: Settle, now: list[float]
) -> None:
    parent, texts = ROOT, list[str]()
    for turn in range(5):
        message = steps(parent, [f"turn {turn}"])
        texts.append(message[0].text)
        await store.prompts.append("a", CHAT, parent, message)
        await settle(store)
        parent = message[0].digest
        now[0] += DAY - 1
    assert await store.prompts.expand("a", CHAT, parent) == texts


async def test_a_list_lives_as_long_as_its_youngest_end(store: Store, now: list[float]) -> None:
    """In small steps as well, where expiries are written rarely."""
    parent, texts = ROOT, list[str]()
    for turn in range(40):
        message = steps(parent, [f"turn {turn}"])
        texts.append(message[0].text)
        await store.prompts.append("a", CHAT, parent, message)
        parent = message[0].digest
        now[0] += DAY / 50
    await store.prompts.flush()
    now[0] += DAY * 15 / 16 - DAY / 50 - 1
    assert await store.prompts.expand("a", CHAT, parent) == texts


async def test_renewing_keeps_the_holds_of_all_messages(
    store: Store, put: Put, now: list[float]
) -> None:
    blob = (await put(store, "a", b"picture")).grant.digest
    first = PromptMessage(prompt_step(ROOT, "1"), "1", blobs=(blob,))
    second = PromptMessage(prompt_step(first.digest, "2"), "2")
    await store.prompts.append("a", CHAT, ROOT, [first, second])
    await store.release("a", blob)
    for _ in range(3):
        now[0] += DAY - 1
        assert await store.prompts.expand("a", CHAT, second.digest) == ["1", "2"]
        await store.prompts.flush()
        assert await store.stat("a", blob) is not None
    now[0] += DAY
    assert await store.stat("a", blob) is None


async def test_a_list_beyond_the_bound_is_not_kept(open_store: Open) -> None:
    store = await open_store(StoreConfig(None, max_prompt_bytes=10 + 2 * MESSAGE_BYTES))
    messages = steps(ROOT, ["12345", "6789é"])
    with pytest.raises(PromptTooLargeError):
        await store.prompts.append("a", CHAT, ROOT, messages)
    await store.prompts.append("a", CHAT, ROOT, messages[:1])
    with pytest.raises(PromptTooLargeError):
        await store.prompts.append("a", CHAT, messages[0].digest, messages[1:])
    assert await store.prompts.expand("a", CHAT, messages[1].digest) is None
    assert await store.prompts.expand("a", CHAT, messages[0].digest) == ["12345"]


async def test_messages_without_text_count_too(open_store: Open) -> None:
    store = await open_store(StoreConfig(None, max_prompt_bytes=10 * MESSAGE_BYTES))
    with pytest.raises(PromptTooLargeError):
        await store.prompts.append("a", CHAT, ROOT, steps(ROOT, ["1"] * 10))
    parent = ROOT
    for _ in range(9):
        (message,) = steps(parent, ["1"])
        await store.prompts.append("a", CHAT, parent, [message])
        parent = message.digest
    await store.prompts.flush()
    with pytest.raises(PromptTooLargeError):
        await store.prompts.append("a", CHAT, parent, steps(parent, ["1"]))


async def test_blobs_that_are_named_count_too(open_store: Open) -> None:
    limit = MESSAGE_BYTES + 3 * NAME_BYTES
    store = await open_store(StoreConfig(None, max_prompt_bytes=limit))
    message = PromptMessage(prompt_step(ROOT, ""), "", (Digest.of(b"x"),) * 3)
    await store.prompts.append("a", CHAT, ROOT, [message])
    with pytest.raises(PromptTooLargeError):
        await store.prompts.append("a", CHAT, ROOT, [replace(message, text="1")])


async def test_appends_wait_when_too_much_is_unwritten(open_store: Open) -> None:
    store = await open_store(StoreConfig(None, pending_prompt_bytes=1000 + MESSAGE_BYTES))
    messages = steps(ROOT, ["x" * 400] * 20)
    parent = ROOT
    for message in messages:
        await store.prompts.append("a", CHAT, parent, [message])
        parent = message.digest
    expanded = await store.prompts.expand("a", CHAT, parent)
    assert expanded is not None
    assert len(expanded) == 20


async def test_appends_at_once_hold_no_more_than_the_bound(
    open_store: Open,
) -> None:
    store = await open_store(StoreConfig(None, pending_prompt_bytes=1000 + 2 * MESSAGE_BYTES))
    trees = [steps(ROOT, [f"{number:0400}"]) for number in range(20)]
    appends = [asyncio.create_task(store.prompts.append("a", CHAT, ROOT, tree)) for tree in trees]
    writer = store.prompts._writer  # pyright: ignore[reportPrivateUsage]  # to measure it
    most = 0
    while not all(append.done() for append in appends):
        pending = writer._pending  # pyright: ignore[reportPrivateUsage]
        most = max(most, sum(len(row.text) for row in pending.values()))
        await asyncio.sleep(0)
    assert 0 < most <= 1000
    for tree in trees:
        assert await store.prompts.expand("a", CHAT, tree[0].digest) == [tree[0].text]


async def test_a_single_append_may_be_larger_than_the_bound(open_store: Open) -> None:
    store = await open_store(StoreConfig(None, pending_prompt_bytes=1000 + MESSAGE_BYTES))
    small = steps(ROOT, ["small"])
    large = steps(ROOT, ["x" * 2000, "y" * 2000])
    await asyncio.gather(
        *(store.prompts.append("a", CHAT, ROOT, messages) for messages in (small, large))
    )
    expanded = await store.prompts.expand("a", CHAT, large[-1].digest)
    assert expanded == [message.text for message in large]


async def test_an_append_that_waits_when_the_store_closes_is_refused(open_store: Open) -> None:
    store = await open_store(StoreConfig(None, pending_prompt_bytes=1000 + MESSAGE_BYTES))
    appends = [
        asyncio.create_task(store.prompts.append("a", CHAT, ROOT, steps(ROOT, [f"{number:0800}"])))
        for number in range(3)
    ]
    await asyncio.sleep(0)
    await store.close()
    kept, *refused = await asyncio.gather(*appends, return_exceptions=True)
    assert kept is None
    assert [type(error) for error in refused] == [StoreClosedError] * 2


async def test_a_prompt_does_not_touch_the_reserve_of_the_disk(
    open_store: Open, tmp_path: Path
) -> None:
    store = await open_store(StoreConfig(tmp_path / "data", min_free_bytes=1 << 60))
    (message,) = steps(ROOT, ["x"])
    with pytest.raises(StoreFullError):
        await store.prompts.append("a", CHAT, ROOT, [message])
    assert await store.prompts.expand("a", CHAT, message.digest) is None


async def test_refused_appends_take_no_room(open_store: Open) -> None:
    store = await open_store(
        StoreConfig(
            None, pending_prompt_bytes=1000 + MESSAGE_BYTES, max_prompt_bytes=1500 + MESSAGE_BYTES
        )
    )
    absent = Digest.of(b"unknown")
    for _ in range(5):
        with pytest.raises(PromptNotFoundError):
            await store.prompts.append("a", CHAT, absent, steps(absent, ["x" * 900]))
        with pytest.raises(PromptTooLargeError):
            await store.prompts.append("a", CHAT, ROOT, steps(ROOT, ["x" * 300, "y" * 300]))
    await store.prompts.append("a", CHAT, ROOT, steps(ROOT, ["x" * 900]))


async def test_the_work_of_an_expand_grows_as_its_messages_do(
    disk_store: Store, databases: Callable[[Store], tuple[Database, Database]]
) -> None:
    messages = steps(ROOT, [f"message {number}" for number in range(10_000)])
    await disk_store.prompts.append("a", CHAT, ROOT, messages)
    await disk_store.prompts.flush()
    work = [0]

    def count() -> int:
        work[-1] += 1
        return 0

    def watch(connection: Connection) -> None:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.set_progress_handler(count, 100)  # instructions of SQLite's machine

    for database in databases(disk_store):
        await database.run(watch)
    for length in (1_000, 10_000):
        work.append(0)
        expanded = await disk_store.prompts.expand("a", CHAT, messages[length - 1].digest)
        assert expanded == [message.text for message in messages[:length]]
    assert work[-1] < 11 * work[-2]


async def test_an_expand_is_one_query(
    store: Store, watch: Callable[[Store], Awaitable[list[str]]]
) -> None:
    messages = steps(ROOT, ["one", "two", "three"])
    await store.prompts.append("a", CHAT, ROOT, messages)
    await store.prompts.flush()
    statements = await watch(store)
    await store.prompts.expand("a", CHAT, messages[-1].digest)
    assert len([text for text in statements if "SELECT" in text]) == 1


async def test_prompts_survive_closing(open_store: Open, folder: Path) -> None:
    store = await open_store(StoreConfig(folder))
    messages = steps(ROOT, ["one", "two"])
    await store.prompts.append("a", CHAT, ROOT, messages)
    await store.close()
    store = await open_store(StoreConfig(folder))
    assert await store.prompts.expand("a", CHAT, messages[-1].digest) == ["one", "two"]


async def test_many_at_once(store: Store) -> None:
    trunk = steps(ROOT, ["trunk"])
    await store.prompts.append("a", CHAT, ROOT, trunk)

    async def converse(number: int) -> None:
        parent, texts = trunk[0].digest, ["trunk"]
        for turn in range(10):
            message = steps(parent, [f"{number} says {turn}"])
            await store.prompts.append("a", CHAT, parent, message)
            parent = message[0].digest
            texts.append(message[0].text)
            assert await store.prompts.expand("a", CHAT, parent) == texts

    await asyncio.gather(*(converse(number) for number in range(20)))


async def test_what_cannot_be_written_is_lost_whole(
    disk_store: Store,
    databases: Callable[[Store], tuple[Database, Database]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    kept = steps(ROOT, ["kept"])
    await disk_store.prompts.append("a", CHAT, ROOT, kept)
    await disk_store.prompts.flush()
    _, database = databases(disk_store)
    pages = await database.run(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar_one())
    await database.run(lambda c: c.exec_driver_sql(f"PRAGMA max_page_count={pages}"))
    lost = steps(kept[0].digest, ["x" * 1_000_000])
    await disk_store.prompts.append("a", CHAT, kept[0].digest, lost)
    await disk_store.prompts.flush()
    assert "lost" in caplog.text
    await database.run(lambda c: c.exec_driver_sql("PRAGMA max_page_count=1000000"))
    assert await disk_store.prompts.expand("a", CHAT, lost[0].digest) is None
    with pytest.raises(PromptNotFoundError):
        await disk_store.prompts.append("a", CHAT, lost[0].digest, steps(lost[0].digest, ["on"]))
    await disk_store.prompts.append("a", CHAT, kept[0].digest, lost)
    await disk_store.prompts.flush()
    assert await disk_store.prompts.expand("a", CHAT, lost[0].digest) is not None


@pytest.mark.parametrize(
    "damage", ["text = 'tWo'", "tenant = 'b'", "parent = digest", "blobs = ''"]
)
async def test_a_message_that_rots_is_never_given_out_and_can_be_sent_again(
    store: Store,
    databases: Callable[[Store], tuple[Database, Database]],
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    blob = Digest.of(b"a blob")
    one, two = steps(ROOT, ["one", "two"])
    two = replace(two, blobs=(blob,))
    await store.prompts.append("a", CHAT, ROOT, [one, two])
    await store.prompts.flush()
    _, database = databases(store)
    await database.run(
        lambda c: c.exec_driver_sql(f"UPDATE prompts SET {damage} WHERE digest = ?", (two.digest,))
    )
    for tenant in ("a", "b"):
        assert await store.prompts.expand(tenant, CHAT, two.digest) is None
    if damage != "tenant = 'b'":  # else it is not found where it was
        with pytest.raises(PromptNotFoundError):
            await store.prompts.append("a", CHAT, two.digest, steps(two.digest, ["three"]))
    if damage != "parent = digest":  # else the list has lost its begin, which is no damage
        assert store.prompts.damaged_messages == 1
        assert "not what was kept" in caplog.text
    await store.prompts.append("a", CHAT, ROOT, [one, two])
    await store.prompts.flush()
    assert await store.prompts.expand("a", CHAT, two.digest) == ["one", "two"]


def test_a_kept_message_gets_its_checksum_when_the_schema_grows() -> None:
    digest = prompt_step(ROOT, "one")
    engine = create_engine("sqlite://")
    with engine.connect() as connection, connection.begin():
        migrate(connection, "prompts", to="prompts_0001")
        connection.exec_driver_sql(
            "INSERT INTO prompts VALUES ('a', ?, ?, ?, 1, 'one', 3, '', 1.0, 2.0)",
            (CHAT, digest, ROOT),
        )
        migrate(connection, "prompts")
        found = prompt_table.expand(connection, PromptKey("a", CHAT, digest))
    assert found is not None
    assert found.texts == ["one"]
    engine.dispose()
