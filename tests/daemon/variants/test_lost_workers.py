"""A worker that ends while it makes a variant: the turn goes on with the original."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coatcheck.daemon import ImagePolicy
from coatcheck.protocol import Digest, encode_json

from ...image_files import drawn, saved
from ..dialect_samples import SAMPLES
from .test_policy_turns import SCALE, Counted, sent_images

Fixture = Callable[..., Any]
CHAT = SAMPLES[0]


def children() -> set[int]:
    """Return the processes that this one started."""
    tasks = Path("/proc/self/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


async def test_a_worker_that_is_killed_costs_the_variant_and_not_the_turn(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    upstream = await run_upstream(images=ImagePolicy(fit=300))
    meters = Counted()
    daemon = await run_daemon(upstream.config, meters=meters)
    first, second = (
        saved(drawn(width, 600), "JPEG", quality=95, comment=b"x" * 60_000) for width in (900, 1200)
    )
    daemon.blobs.add(second)

    async def ask(image: bytes) -> tuple[Any, bytes]:
        async with daemon.http.post(
            daemon.url + CHAT.path, data=encode_json(CHAT.ask(CHAT.ref(image)))
        ) as got:
            assert got.status == 200
        ((_, sent),) = sent_images(upstream, CHAT.name)
        return got.headers, sent

    before = children()
    daemon.blobs.add(first)
    _, variant = await ask(first)
    (pid,) = children() - before
    os.kill(pid, signal.SIGSTOP)  # so that it ends while it has the image
    turn = asyncio.create_task(ask(second))
    async with asyncio.timeout(10):  # read for its header, and again for the worker
        while sum(each.digest == Digest.of(second) for each in daemon.blobs.readers) < 2:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    headers, sent = await turn
    assert SCALE not in headers
    assert sent == second
    assert meters.outcomes == {"made": 1, "failed": 1}
    # The upstream has it in its prompt cache now, and goes on getting it; others are not concerned.
    assert (await ask(second))[1] == second
    headers, again = await ask(first)
    assert SCALE in headers
    assert again == variant
    assert meters.outcomes == {"made": 1, "failed": 1, "kept": 1, "found": 1}


async def test_a_variant_that_rots_costs_one_retry(
    run_daemon: Fixture, run_upstream: Fixture, tmp_path: Path
) -> None:
    upstream = await run_upstream(images=ImagePolicy(fit=300))
    daemon = await run_daemon(upstream.config)
    original = saved(drawn(900, 600), "JPEG", quality=95)
    daemon.blobs.add(original)
    body = encode_json(CHAT.ask(CHAT.ref(original)))
    answers: list[tuple[int, Any]] = []
    for turn in range(3):
        if turn == 1:
            for file in (tmp_path / "variants/blobs").iterdir():
                file.write_bytes(bytes(file.stat().st_size))
        async with daemon.http.post(daemon.url + CHAT.path, data=body) as got:
            answers.append((got.status, await got.json()))
    assert [status for status, _ in answers] == [200, 503, 200]
    assert answers[1][1]["error"]["code"] == "variant_lost"
    (variant,) = {data for _, data in sent_images(upstream, CHAT.name)}
    assert upstream.seen[0].body == upstream.seen[-1].body
    assert [file.name for file in (tmp_path / "variants/blobs").iterdir()] == [
        Digest.of(variant).hex
    ]
