"""A blob of somebody else and a blob of nobody cannot be told apart, in answer or in work."""

import os
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from coatcheck.protocol import Digest, prompt_root
from coatcheck.store import PromptMessage, Receipt, Store, StoreError
from coatcheck.store.database import Database

Put = Callable[..., Awaitable[Receipt]]
Databases = Callable[[Store], tuple[Database, Database]]
Statements = list[str]

# As SQLite writes a bound value into a statement that it traces.
_value = re.compile(r"x?'(?:[^']|'')*'|\b[0-9][0-9.e+]*\b|\bNULL\b")

THEIRS = Digest.of(b"theirs")
NOBODYS = Digest.of(b"nobody's")
THEIR_PROMPT = Digest.of(b"their prompt")

CALLS: list[Callable[[Store, Digest], Awaitable[object]]] = [
    lambda store, digest: store.stat("me", digest),
    lambda store, digest: store.stat_many("me", [digest]),
    lambda store, digest: store.open_blob("me", digest),
    lambda store, digest: store.missing("me", [digest]),
    lambda store, digest: store.release("me", digest),
    lambda store, digest: store.pin("me", digest),
    lambda store, digest: store.unpin("me", digest),
]


@pytest.fixture
async def theirs(disk_store: Store, put: Put) -> Store:
    """A store in which another tenant has a blob, pinned and remembered, and a prompt."""
    await put(disk_store, "them", b"theirs")
    await put(disk_store, "me", b"mine")
    await disk_store.pin("them", THEIRS)
    await disk_store.stat("them", THEIRS)
    message = PromptMessage(THEIR_PROMPT, "[]", blobs=(THEIRS,))
    await disk_store.prompts.append("them", "d", prompt_root("d"), [message])
    await disk_store.prompts.flush()
    return disk_store


@pytest.fixture
async def statements(theirs: Store, watch: Callable[[Store], Awaitable[Statements]]) -> Statements:
    """What the databases run."""
    return await watch(theirs)


def work_of(statements: Statements) -> list[str]:
    """Return the statements without the values in them, and empty the list."""
    work = [_value.sub("?", text) for text in statements]
    statements.clear()
    return work


async def answer(call: Awaitable[object], digest: Digest) -> str:
    """Return what a call says, without the digest it was asked about."""
    try:
        said = repr(await call)
    except StoreError as error:
        said = f"{type(error).__name__}: {error}"
    return said.replace(digest, "<digest>")


@pytest.mark.parametrize("call", CALLS)
async def test_the_same_answer_and_the_same_work(
    theirs: Store,
    statements: Statements,
    monkeypatch: pytest.MonkeyPatch,
    call: Callable[[Store, Digest], Awaitable[object]],
) -> None:
    opened: list[object] = []
    open_file = os.open

    def watching(path: Any, *arguments: Any, **options: Any) -> int:
        opened.append(path)
        return open_file(path, *arguments, **options)

    monkeypatch.setattr(os, "open", watching)
    work: list[list[str]] = []
    answers: list[str] = []
    for digest in (THEIRS, NOBODYS):
        statements.clear()
        answers.append(await answer(call(theirs, digest), digest))
        work.append(work_of(statements))
    assert answers[0] == answers[1]
    assert work[0] == work[1]
    assert work[0]
    assert opened == []


async def test_prompts_of_others_are_as_absent_as_any(
    theirs: Store, statements: Statements
) -> None:
    async def expand(digest: Digest) -> object:
        return await theirs.prompts.expand("me", "d", digest)

    async def append(digest: Digest) -> None:
        await theirs.prompts.append("me", "d", digest, [PromptMessage(NOBODYS, "1")])

    for call in (expand, append):
        answers: list[str] = []
        work: list[list[str]] = []
        for digest in (THEIR_PROMPT, NOBODYS):
            statements.clear()
            answers.append(await answer(call(digest), digest))
            work.append(work_of(statements))
        assert answers[0] == answers[1]
        assert work[0] == work[1]


async def test_uploading_what_another_tenant_has_runs_the_same_statements(
    theirs: Store, put: Put, statements: Statements
) -> None:
    known = (await put(theirs, "me", b"theirs")).created
    first = work_of(statements)
    new = (await put(theirs, "me", b"new to all")).created
    assert (known, first) == (new, work_of(statements))


async def test_the_question_begins_at_the_tenants_grants(
    theirs: Store, statements: Statements, databases: Databases
) -> None:
    """SQLite's plan looks at `blobs` only for what it found in `grants`."""
    await theirs.stat_many("me", [THEIRS, NOBODYS])
    statement = next(each for each in statements if each.startswith("SELECT"))
    index, _ = databases(theirs)
    plan = await index.run(lambda c: c.exec_driver_sql("EXPLAIN QUERY PLAN " + statement).all())
    tables = [str(row[3]).split()[1] for row in plan]
    assert tables.index("grants") < tables.index("blobs")
    assert tables.index("grants") < tables.index("holds")
