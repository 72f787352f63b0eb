"""What the examiner has to see: each kind of loss, and what is half there."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from faults.behind import of_blobs
from faults.examine import examine
from faults.ledger import Ledger, Line, Mark, content, digest_of, read_ledger
from faults.persist import body
from faults.promised import Promised
from faults.steps import SMALL
from faults.writer import counted

from coatcheck.protocol import Digest
from coatcheck.store import NewUpload, Store, StoreConfig

DATA = content("kept", SMALL)
DIGEST = Digest.of(DATA)
PUT = Line(Mark.DONE, "put", "a", DIGEST)


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A store with one blob of the tenant `a`."""
    place = tmp_path / "data"
    async with await Store.open(StoreConfig(place), random=counted("x")) as store:
        await store.receive("a", body(DATA))
    return place


async def begin(folder: Path, name: str, offset: int, end_user: str = "") -> Line:
    """Begin an upload of the tenant `a`; return what it was told."""
    async with await Store.open(StoreConfig(folder)) as store:
        new = NewUpload("a", end_user=end_user or None)
        upload_id = (await store.uploads.create(new)).id
        await store.uploads.append("a", upload_id, 0, body(content(name, SMALL)[:offset]))
    return Line(
        Mark.DONE,
        "append",
        "a",
        digest_of(name, SMALL),
        name,
        id=upload_id,
        size=SMALL,
        offset=offset,
        end_user=end_user,
    )


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


async def test_what_was_begun_is_gone_on_with(folder: Path) -> None:
    promised = Promised.by([PUT, await begin(folder, "long", 100)])
    assert await examine(folder, promised) == []
    assert ("a", digest_of("long", SMALL)) in promised.blobs
    assert promised.uploads == {}


async def test_bytes_of_an_upload_that_are_gone_are_missed(folder: Path) -> None:
    line = await begin(folder, "long", 100)
    with (folder / "uploads" / line.id).open("r+b") as file:
        file.truncate(99)
    assert any("LOST: the upload" in told for told in await examine(folder, Promised.by([line])))


async def test_an_upload_that_has_other_bytes_is_named(folder: Path) -> None:
    line = replace(await begin(folder, "long", 100), text="other")
    assert any("became another blob" in told for told in await examine(folder, Promised.by([line])))


async def test_an_offset_behind_what_was_acknowledged_is_named(folder: Path) -> None:
    line = replace(await begin(folder, "long", 100), offset=150)
    told = await examine(folder, Promised.by([PUT, line]))
    assert told == ["LOST: 50 bytes of long"]


async def test_a_length_that_was_forgotten_is_named(folder: Path) -> None:
    line = await begin(folder, "long", 100)
    told = await examine(folder, Promised.by([PUT, line, replace(line, step="declare")]))
    assert told == ["LOST: how long long is"]


async def test_what_was_not_erased_is_named(folder: Path) -> None:
    name = "an end user"
    async with await Store.open(StoreConfig(folder)) as store:
        await store.receive("a", body(DATA), end_user=name)
        await store.receive("a", body(b"for one"), end_user=name)
    line = await begin(folder, "long", 100, end_user=name)
    put = Line(Mark.DONE, "put", "a", Digest.of(b"for one"), end_user=name)
    erase = [Line(mark, "erase", "a", end_user=name) for mark in (Mark.BEGUN, Mark.DONE)]
    begun = Promised.by([PUT, replace(PUT, end_user=name), line, put, erase[0]])
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy)
    assert await examine(copy, begun) == []
    assert set(begun.blobs) >= {("a", DIGEST)}
    told = await examine(folder, Promised.by([PUT, line, put, *erase]))
    assert any("whose name is in index.sqlite" in one for one in told)
    assert any("of whom there were (1, 0, 1)" in one for one in told)
    assert any("whose bytes are there" in one for one in told)
    assert any(f"that {put.digest[7:]} was erased" in one for one in told)


@pytest.mark.parametrize("mark", [Mark.DONE, Mark.BEGUN])
async def test_a_row_and_a_file_belong_together(folder: Path, mark: Mark) -> None:
    data = content("without a row", SMALL)
    digest = Digest.of(data)
    (folder / "blobs" / "sha256" / digest.hex[:2] / digest.hex).write_bytes(data)
    lines = [PUT, Line(mark, "put", "b", digest), Line(mark, "release", "b", digest)]
    said = f"{digest} has bytes without a row"
    assert said in [*of_blobs(folder)]
    told = await examine(folder, Promised.by(lines))
    assert (said in told) is (mark is Mark.DONE)
    assert [*of_blobs(folder)] == []  # nothing is left of it, whatever it was


@pytest.mark.parametrize(
    ("step", "said"), [("file", "LOST: the file"), ("remove file", "was removed")]
)
async def test_files_that_are_otherwise_than_told_are_named(
    folder: Path, step: str, said: str
) -> None:
    async with await Store.open(StoreConfig(folder)) as store:
        file = await store.files.create("a", DIGEST)
    digest = digest_of("other", 1) if step == "file" else DIGEST
    told = await examine(folder, Promised.by([PUT, Line(Mark.DONE, step, "a", digest, id=file.id)]))
    assert any(said in line for line in told)


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
