"""One store with many kept messages: `python -m bench.prompts_process FOLDER MESSAGES LENGTH`.

The messages are written behind the store's back, in the order of their keys, as conversations of fifty
messages of the same tenant; the long one, of LENGTH messages, is appended as it would be. Prints one JSON object.
"""

import asyncio
import json
import sqlite3
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

from coatcheck.daemon.parsed_request import TurnLimits, parse_request
from coatcheck.daemon.turn import Recalled, build_turn
from coatcheck.protocol import (
    Digest,
    Json,
    dialect,
    encode_json,
    prompt_digests,
    prompt_root,
    prompt_step,
)
from coatcheck.store import PromptMessage, Store, StoreConfig
from coatcheck.store.prompt_checksum import prompt_checksum

_TENANT, _DIALECT = "acme", "openai.chat"
_TURNS = 50
_ROUNDS = 15
_FAR = 86_400.0 * 30


def message(number: int) -> Json:
    """Return a message as an agent's are."""
    return {"role": "user", "content": f"message {number}: {'what next? ' * 20}"}


async def measure(folder: Path, messages: int, length: int) -> dict[str, float]:
    """Return the milliseconds that each question takes, and of a processor (`_cpu`), each at best.

    At best, since a machine that does other work too is no slower than that.
    """
    config = StoreConfig(folder, prompt_seconds=int(_FAR))
    async with await Store.open(config):
        pass
    await asyncio.to_thread(_fill, folder / "prompts.sqlite", messages, time.time())
    taken: dict[str, list[float]] = {}
    async with await Store.open(config) as store:
        last = await _converse(store, length)
        for number in range(_ROUNDS):
            with _timed(taken, "expand"):
                expanded = await store.prompts.expand(_TENANT, _DIALECT, last)
            assert expanded is not None
            assert len(expanded) == length + number
            new = message(length + number)
            parent, last = last, prompt_step(last, new)
            step = PromptMessage(last, encode_json(new).decode())
            with _timed(taken, "written"):
                with _timed(taken, "append"):
                    await store.prompts.append(_TENANT, _DIALECT, parent, [step])
                await store.prompts.flush()
    return {name: min(seconds) * 1e3 for name, seconds in taken.items()}


@contextmanager
def _timed(taken: dict[str, list[float]], name: str) -> Generator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    taken.setdefault(f"{name}_cpu", []).append(time.process_time() - cpu)
    taken.setdefault(name, []).append(time.perf_counter() - wall)


async def _converse(store: Store, length: int) -> Digest:
    """Append the long conversation, some turns at a time; return its last digest."""
    listed = [message(number) for number in range(length)]
    digests = prompt_digests(_DIALECT, listed)
    parent = prompt_root(_DIALECT)
    for start in range(0, length, _TURNS):
        steps = [
            PromptMessage(digests[at], encode_json(listed[at]).decode())
            for at in range(start, start + _TURNS)
        ]
        await store.prompts.append(_TENANT, _DIALECT, parent, steps)
        parent = steps[-1].digest
    await store.prompts.flush()
    return parent


def _fill(path: Path, messages: int, now: float) -> None:
    database = sqlite3.connect(path, isolation_level=None)
    try:
        for pragma in ("synchronous=OFF", "cache_size=-200000"):
            database.execute(f"PRAGMA {pragma}")
        database.execute("BEGIN")
        database.executemany(
            "INSERT INTO prompts (tenant, dialect, digest, parent, depth, text, list_bytes, blobs, "
            "created_at, expires_at, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, '', ?, ?, ?)",
            sorted(_rows(messages, now)),
        )
        database.execute("COMMIT")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        database.close()


def _rows(messages: int, now: float) -> Iterator[tuple[str | int | float | bytes, ...]]:
    text = encode_json(message(0)).decode()
    parent = root = prompt_root(_DIALECT)
    for number in range(messages):
        depth = number % _TURNS + 1
        parent = root if depth == 1 else parent
        digest = Digest.of(b"%d" % number)
        size = depth * (len(text) + 1000)
        row = (_TENANT, _DIALECT, str(digest), str(parent), depth, text, size)
        checksum = prompt_checksum(*row, "")
        yield (*row, now, now + _FAR, checksum)
        parent = digest


def turn_milliseconds(count: int) -> float:
    """Return what the gateway's own work takes for a list of so many messages, sent whole and named.

    Reading it, walking it, digesting it, and writing it for the upstream: of a processor, at best.
    """
    spoken = dialect(_DIALECT)
    listed = [message(number) for number in range(count)]
    texts = [encode_json(each).decode() for each in listed]
    whole = encode_json({"model": "m", "messages": listed})
    parent = str(prompt_digests(_DIALECT, listed[:1])[0])
    named = encode_json({"model": "m", "coatcheck": {"parent": parent, "append": [listed[0]]}})
    limits = TurnLimits()

    def work() -> None:
        parsed = parse_request(whole, spoken, limits)
        turn = build_turn(parsed, Recalled(), spoken, (), limits)
        prompt_digests(_DIALECT, turn.copy_appended(puts_back=True))
        parsed = parse_request(named, spoken, limits)
        encode_json(build_turn(parsed, Recalled(texts), spoken, (), limits).body)

    return min(_spent(work) for _ in range(3)) * 1e3


def _spent(work: Callable[[], None]) -> float:
    begun = time.thread_time()
    work()
    return time.thread_time() - begun


def main() -> None:
    """Measure."""
    folder, messages, length = sys.argv[1:]
    print(json.dumps(asyncio.run(measure(Path(folder), int(messages), int(length)))))


if __name__ == "__main__":
    main()
