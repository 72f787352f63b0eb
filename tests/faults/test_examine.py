"""What the examiner has to see: each kind of loss, and what is half there."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from faults.examine import examine
from faults.ledger import Ledger, Line, Mark, content, read_ledger
from faults.promised import Promised
from faults.writer import SMALL, counted

from coatcheck.protocol import Digest
from coatcheck.store import Store, StoreConfig

DATA = content("kept", SMALL)
DIGEST = Digest.of(DATA)
PUT = Line(Mark.DONE, "put", "a", DIGEST)


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A store with one blob of the tenant `a`."""

    async def body() -> AsyncIterator[bytes]:
        yield DATA

    place = tmp_path / "data"
    async with await Store.open(StoreConfig(place), random=counted("x")) as store:
        await store.receive("a", body())
    return place


async def test_a_store_that_keeps_its_promises(folder: Path) -> None:
    promised = Promised.by([PUT])
    assert await examine(folder, promised) == []
    assert await examine(folder, promised) == []
    assert promised.acknowledged == 1


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([PUT, replace(PUT, tenant="b")], "LOST: b has no grant"),
        ([replace(PUT, until=1e12)], "LOST: the lease of a"),
        ([PUT, Line(Mark.DONE, "pin", "a", DIGEST)], "LOST: the pin of a"),
        ([PUT, Line(Mark.DONE, "release", "a", DIGEST)], "LOST: that a released"),
        ([PUT, Line(Mark.DONE, "key", "a", text="abcdefgh")], "LOST: the key abcdefgh"),
        ([PUT, Line(Mark.DONE, "prompt", "a", DIGEST, "text")], "LOST: the prompt"),
        ([], "which it never handed in"),
    ],
)
async def test_what_is_lost_is_named(folder: Path, lines: list[Line], said: str) -> None:
    assert any(said in line for line in await examine(folder, Promised.by(lines)))


@pytest.mark.parametrize("line", [PUT, replace(PUT, mark=Mark.BEGUN)])
async def test_bytes_that_are_gone_are_missed(folder: Path, line: Line) -> None:
    (folder / "blobs" / "sha256" / DIGEST.hex[:2] / DIGEST.hex).unlink()
    told = await examine(folder, Promised.by([line]))
    half = f"{DIGEST} is half visible to a"
    assert (f"LOST: the bytes of {DIGEST}" if line is PUT else half) in told


async def test_files_that_do_not_belong_there_are_named(folder: Path) -> None:
    (folder / "blobs" / "sha256" / "00" / ("0" * 64)).write_bytes(b"half")
    (folder / "spool" / "1.part").write_bytes(b"half")
    told = await examine(folder, Promised.by([PUT]))
    assert any("holds other bytes" in line for line in told)
    assert any("1.part is left" in line for line in told)


def test_an_answer_that_came_too_late_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    ledger = Ledger(path)
    ledger.write(PUT)
    told_bytes = path.stat().st_size
    ledger.write(replace(PUT, tenant="b"))
    ledger.close()
    with path.open("ab") as file:
        file.write(b'{"mark": "done", "st')  # the process died as it wrote
    assert [line.mark for line in read_ledger(path)] == [Mark.DONE, Mark.DONE]
    promised = Promised.by(read_ledger(path, told_bytes))
    assert set(promised.blobs) == {("a", DIGEST)}
    assert promised.maybe == {("b", DIGEST)}
