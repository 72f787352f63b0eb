"""Ids of responses: a tenant's own, as long as their lists, and gone with them."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from coatcheck.protocol import Digest, prompt_root, prompt_step
from coatcheck.store import (
    KeptResponse,
    PromptMessage,
    PromptNotFoundError,
    SharedFolder,
    Store,
    StoreConfig,
)

Open = Callable[[StoreConfig], Awaitable[Store]]

DIALECT = "openai.responses"
ROOT = prompt_root(DIALECT)
DAY = 24 * 3600


async def keep(
    store: Store, tenant: str, parent: Digest, *texts: str, end_user: str | None = None
) -> Digest:
    """Keep messages behind a parent; return the digest of the list."""
    messages: list[PromptMessage] = []
    at = parent
    for text in texts:
        at = prompt_step(at, text)
        messages.append(PromptMessage(at, text))
    await store.prompts.append(tenant, DIALECT, parent, messages, end_user=end_user)
    return at


def named(prompt: Digest, answered: int = 1, upstream: str = "vision") -> KeptResponse:
    return KeptResponse(DIALECT, prompt, answered, upstream)


async def test_an_id_names_its_list_at_once(store: Store) -> None:
    prompt = await keep(store, "a", ROOT, '"question"', '"answer"')
    await store.responses.put("a", "resp_1", named(prompt))
    assert await store.responses.find("a", "resp_1") == named(prompt)
    assert await store.responses.find("a", "resp_2") is None


async def test_another_tenants_id_is_another_response(store: Store) -> None:
    ours = await keep(store, "a", ROOT, '"ours"')
    theirs = await keep(store, "b", ROOT, '"theirs"')
    await store.responses.put("a", "resp_1", named(ours))
    assert await store.responses.find("b", "resp_1") is None
    await store.responses.put("b", "resp_1", named(theirs, answered=2))
    assert await store.responses.find("a", "resp_1") == named(ours)
    assert await store.responses.find("b", "resp_1") == named(theirs, answered=2)
    assert await store.responses.remove("b", "resp_1")
    assert await store.responses.find("a", "resp_1") == named(ours)


async def test_the_last_response_of_an_id_counts(store: Store) -> None:
    first = await keep(store, "a", ROOT, '"one"')
    second = await keep(store, "a", ROOT, '"two"')
    await store.responses.put("a", "resp_1", named(first))
    await store.responses.put("a", "resp_1", named(second, upstream="other"))
    assert await store.responses.find("a", "resp_1") == named(second, upstream="other")


async def test_a_list_that_is_not_kept_gets_no_name(store: Store) -> None:
    prompt = await keep(store, "a", ROOT, '"one"')
    for tenant, wanted in (
        ("a", named(Digest.of(b"unknown"))),
        ("b", named(prompt)),
        ("a", KeptResponse("openai.chat", prompt, 1, "vision")),
    ):
        with pytest.raises(PromptNotFoundError):
            await store.responses.put(tenant, "resp_1", wanted)
        assert await store.responses.find(tenant, "resp_1") is None


async def test_a_removed_id_is_unknown_and_its_list_stays(store: Store) -> None:
    prompt = await keep(store, "a", ROOT, '"one"')
    await store.responses.put("a", "resp_1", named(prompt))
    assert await store.responses.remove("a", "resp_1")
    assert not await store.responses.remove("a", "resp_1")
    assert await store.responses.find("a", "resp_1") is None
    assert await store.prompts.expand("a", DIALECT, prompt) == ['"one"']


async def test_an_id_goes_when_its_list_expires(store: Store, now: list[float]) -> None:
    short = await keep(store, "a", ROOT, '"short"')
    await store.responses.put("a", "resp_short", named(short))
    now[0] += DAY / 2
    long = await keep(store, "a", ROOT, '"long"')
    await store.responses.put("a", "resp_long", named(long))
    now[0] += DAY * 3 / 4
    await store.sweep.run()
    assert await store.responses.find("a", "resp_short") is None
    assert await store.responses.find("a", "resp_long") == named(long)


async def test_a_use_of_the_list_keeps_its_id(store: Store, now: list[float]) -> None:
    prompt = await keep(store, "a", ROOT, '"one"')
    await store.responses.put("a", "resp_1", named(prompt))
    for _ in range(3):
        now[0] += DAY * 3 / 4
        assert await store.prompts.expand("a", DIALECT, prompt) == ['"one"']
        await store.sweep.run()
    assert await store.responses.find("a", "resp_1") == named(prompt)


async def test_ids_outlive_a_crash_with_their_lists(
    open_store: Open, disk_store: Store, folder: Path, tmp_path: Path
) -> None:
    """When `put` returns nothing waits to be written: what the files have then is all of it."""
    prompt = await keep(disk_store, "a", ROOT, '"one"', '"two"')
    await disk_store.responses.put("a", "resp_1", named(prompt))
    await asyncio.to_thread(shutil.copytree, folder, tmp_path / "left")
    again = await open_store(StoreConfig(tmp_path / "left"))
    assert await again.responses.find("a", "resp_1") == named(prompt)
    assert await again.prompts.expand("a", DIALECT, prompt) == ['"one"', '"two"']


async def test_erasing_a_tenant_takes_its_ids(store: Store) -> None:
    for tenant in ("a", "b"):
        prompt = await keep(store, tenant, ROOT, '"one"')
        await store.responses.put(tenant, "resp_1", named(prompt), end_user="ann")
    erased = await store.erasure.erase_tenant("a")
    assert erased.left is not None
    assert erased.left.is_nothing
    assert await store.responses.find("a", "resp_1") is None
    assert await store.responses.find("b", "resp_1") is not None


async def test_erasing_an_end_user_takes_what_is_theirs_alone(store: Store) -> None:
    """Also the id of a list that two had alike, and ids of what follows an erased message."""
    alike = await keep(store, "a", ROOT, '"alike"', end_user="ann")
    assert alike == await keep(store, "a", ROOT, '"alike"', end_user="bob")
    await store.responses.put("a", "resp_ann", named(alike), end_user="ann")
    await store.responses.put("a", "resp_bob", named(alike), end_user="bob")
    anns = await keep(store, "a", ROOT, '"ann"', end_user="ann")
    follows = await keep(store, "a", anns, '"follows"')
    await store.responses.put("a", "resp_follows", named(follows))
    erased = await store.erasure.erase_end_user("a", "ann")
    assert erased.left is not None
    assert erased.left.is_nothing
    assert await store.responses.find("a", "resp_ann") is None
    assert await store.responses.find("a", "resp_follows") is None
    assert await store.responses.find("a", "resp_bob") == named(alike)


async def test_all_processes_of_a_folder_know_an_id(folder: Path) -> None:
    async with AsyncExitStack() as stack:
        shared = SharedFolder.take(folder)
        stack.callback(shared.close)
        here, there = [await Store.open(StoreConfig(folder), shared=shared) for _ in range(2)]
        stack.push_async_callback(here.close)
        stack.push_async_callback(there.close)
        prompt = await keep(here, "a", ROOT, '"one"')
        await here.responses.put("a", "resp_1", named(prompt))
        assert await there.responses.find("a", "resp_1") == named(prompt)
        assert await there.responses.remove("a", "resp_1")
        assert await here.responses.find("a", "resp_1") is None
