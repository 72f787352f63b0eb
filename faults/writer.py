"""`python -m faults.writer FOLDER LEDGER [first]`: a program that uses a store and says what it was told.

Blobs of one slab and of several, of two tenants; one that is known; what is refused; uploads in parts
and in sections, finished and not; pins, releases, a sweep, files, a key, a prompt; an end user who is erased.

Its threads are few and its random bytes counted, so that every run makes the same calls. What it finds
in the ledger was told to the process before it, and unfinished uploads of that one are gone on with.
"""

import asyncio
import hashlib
import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from coatcheck.store import Store, StoreConfig, StoreError

from .clock import Clock
from .ledger import Ledger, Line, Mark, content, read_ledger
from .persist import StuckError, persist
from .promised import Promised
from .sender import Parcel, Sender
from .steps import SLABS, SMALL, Steps

ERASED = "a person to be erased"


async def _never_ending(spooled: asyncio.Event, less: int = 0) -> AsyncIterator[bytes]:
    yield content("unfinished", SLABS - less)
    spooled.set()  # asked for more, so the first bytes are in their file
    await asyncio.Event().wait()


def counted(seed: str) -> Callable[[int], bytes]:
    """Return what gives out bytes like random ones, the same in every run."""
    count = 0

    def give(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_128(f"{seed} {count}".encode()).digest(size)

    return give


async def write(folder: Path, ledger: Ledger, before: Promised, *, is_last: bool) -> None:
    """Use a store in the folder; die in the middle of it when this is not the last use.

    `before` is what was promised there until now.
    """
    clock = Clock()
    config = StoreConfig(folder, min_free_bytes=0, read_threads=1, write_threads=1)
    random = counted("last" if is_last else "first")
    try:
        store = await persist(
            ledger, "open", lambda: Store.open(config, clock=clock, random=random)
        )
    except StuckError:  # each try has new threads, and a fault strikes in every one
        return
    steps, sender = Steps(store, ledger), Sender(store, ledger)
    if not is_last:
        await _first(steps, sender)
        await _die_in_uploads(store, sender)
    await _last(steps, sender)
    await _go_on(sender, before)
    await _let_go(steps, sender, clock)
    try:
        await store.close()
    except StoreError as error:
        ledger.write(Line(Mark.REFUSED, "close", text=f"{type(error).__name__}: {error}"))
    ledger.write(Line(Mark.DONE, "close"))


async def _first(steps: Steps, sender: Sender) -> None:
    await steps.put("a", "before", SMALL)
    await steps.put("b", "before, long", SLABS)
    await steps.put("b", "to be released", SMALL)
    await steps.pin("b", "before, long", SLABS)
    await steps.key("a")
    await steps.prompt("b", "before, long", SLABS)
    await steps.file("b", "before, long", SLABS)
    await sender.append(Parcel("a", "parts before", SLABS), SMALL)
    await sender.append(Parcel("b", "parts before, left", SLABS, says_length=False), SMALL)


async def _last(steps: Steps, sender: Sender) -> None:
    await steps.put("a", "short", SMALL)
    await steps.put("b", "one byte", 1)
    await steps.put("a", "long", SLABS)
    await steps.put("b", "to be released", SMALL)
    await steps.put("b", "before", SMALL)  # which another tenant has
    await steps.put("a", "long", SLABS)  # which it has itself
    await steps.put_other("a", "refused", SMALL)
    await steps.put_other("b", "refused, long", SLABS)
    await steps.pin("a", "short", SMALL)
    await steps.release("b", "to be released", SMALL)
    await steps.release("b", "one byte", 1)
    await steps.put("b", "one byte", 1)
    parcel = Parcel("a", "parts", SLABS, says_length=False)
    await sender.append(parcel, 100)
    await sender.append(parcel, SMALL)
    await sender.finish(parcel)
    await sender.append(Parcel("b", "parts, left", SLABS), SLABS - 1)
    await sender.finish(Parcel("b", "long", SLABS))  # which another tenant has
    await steps.put_sections("a", "in sections", SLABS)
    await steps.file("a", "short", SMALL)
    await steps.remove_file("a", await steps.file("a", "long", SLABS))
    await steps.key("b")
    await steps.prompt("a", "long", SLABS)
    await steps.put("a", "last", SMALL)
    for tenant, name, size in (
        ("a", "short", SMALL),
        ("a", "long", SLABS),
        ("b", "one byte", 1),
        ("b", "before", SMALL),
        ("a", "last", SMALL),
        ("a", "in sections", SLABS),
    ):
        await steps.read(tenant, name, size)


async def _let_go(steps: Steps, sender: Sender, clock: Clock) -> None:
    """Release and sweep, and erase an end user who has some of everything."""
    await steps.put("a", "for a person", SMALL, ERASED)
    await steps.put("a", "short", SMALL, ERASED)  # which nobody in particular has too
    await steps.file("a", "for a person", SMALL, ERASED)
    await steps.prompt("a", "for a person", SMALL, ERASED)
    await sender.append(Parcel("a", "parts for a person", SLABS, ERASED), SMALL)
    await sender.finish(Parcel("a", "sent for a person", SMALL, ERASED))
    await steps.put("a", "to be swept", SMALL)
    await steps.put("b", "to be swept", SMALL)
    await steps.put("a", "to be swept, long", SLABS)
    await steps.put("a", "to be revived", SMALL)
    for name, size in (("to be swept", SMALL), ("to be swept, long", SLABS)):
        await steps.release("a", name, size)
    await steps.release("b", "to be swept", SMALL)
    await steps.release("a", "to be revived", SMALL)
    clock.leap()
    await steps.put("b", "to be revived", SMALL)
    await steps.sweep()
    await steps.erase("a", ERASED)
    await steps.put("a", "to be swept", SMALL)  # anew
    await steps.read("a", "to be swept", SMALL)
    await steps.read("b", "to be revived", SMALL)


async def _go_on(sender: Sender, before: Promised) -> None:
    """Finish one of the uploads that another process left, and bring the others further."""
    for number, parcel in enumerate(before.uploads.values()):
        if number:
            await sender.append(parcel, parcel.size // 2)
        else:
            await sender.finish(parcel)


async def _die_in_uploads(store: Store, sender: Sender) -> None:
    parcel = Parcel("a", "parts, killed", SLABS)
    await sender.append(parcel, SMALL)
    spooled = [asyncio.Event(), asyncio.Event()]
    unfinished = [
        asyncio.create_task(store.receive("a", _never_ending(spooled[0]))),
        asyncio.create_task(
            store.uploads.append("a", parcel.id, SMALL, _never_ending(spooled[1], SMALL))
        ),
    ]
    for event in spooled:
        await event.wait()
    assert not any(task.done() for task in unfinished)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> int:
    """Write, and say in the ledger what went wrong."""
    folder, path, *which = sys.argv[1:]
    before = Promised.by(read_ledger(Path(path)))
    ledger = Ledger(Path(path))
    try:
        asyncio.run(write(Path(folder), ledger, before, is_last="first" not in which))
    except Exception:  # noqa: BLE001 - the outermost edge: told in the ledger
        ledger.write(Line(Mark.BROKEN, "writer", text=traceback.format_exc()))
        return 1
    finally:
        ledger.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
