"""The store against a dict, in any order of calls and over any time.

`COATCHECK_NIGHTLY` tries twenty times as many orders: over 10,000 steps.
"""

import asyncio
import math
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from coatcheck.protocol import OCTET_STREAM, Digest, prompt_root, prompt_step
from coatcheck.store import BlobNotFoundError, PromptMessage, Store, StoreConfig

pytestmark = pytest.mark.timeout(900)

LEASE = 16_000
PROMPT = 24_000
REVIEW = 1_000
GRACE = 60  # for which a hold that ended is left to messages on their way
DIALECT = "openai.chat"
CONTENT = {Digest.of(data): data for data in (b"one", b"two", b"three")}

tenants = st.sampled_from(["a", "b"])
digests = st.sampled_from(sorted(CONTENT))
declared_types = st.sampled_from([None, "image/png", "text/plain"])


@dataclass
class Held:
    """What the dict knows of one grant."""

    created_at: float
    declared_type: str | None
    lease: float = -math.inf
    pinned: bool = False
    prompts: dict[Digest, float] = field(default_factory=dict[Digest, float])

    def ends_at(self) -> float:
        return math.inf if self.pinned else max(self.lease, *self.prompts.values(), -math.inf)

    def lives(self, now: float) -> bool:
        return self.ends_at() > now


class StoreMachine(RuleBasedStateMachine):
    """Each rule does the same to both; the invariant compares them."""

    def __init__(self) -> None:
        super().__init__()
        self.folder: Path | None = None
        self.now = 1_000_000.0
        self.model: dict[tuple[str, Digest], Held] = {}
        # When a sweep has met each blob that nothing holds.
        self.condemned: dict[Digest, float] = {}
        self.runner = asyncio.Runner()

    @initialize()
    def begin(self) -> None:
        self.store = self.runner.run(self.open())

    async def open(self) -> Store:
        config = StoreConfig(
            self.folder, lease_seconds=LEASE, prompt_seconds=PROMPT, review_seconds=REVIEW
        )
        return await Store.open(config, clock=lambda: self.now)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.runner.run(self.store.close())
        self.runner.close()

    def held(self, tenant: str, digest: Digest) -> Held | None:
        held = self.model.get((tenant, digest))
        return held if held is not None and held.lives(self.now) else None

    def use(self, held: Held) -> None:
        if self.now < held.lease <= self.now + LEASE * 15 / 16:
            held.lease = self.now + LEASE

    @rule(tenant=tenants, digest=digests, declared_type=declared_types)
    def put(self, tenant: str, digest: Digest, declared_type: str | None) -> None:
        async def body() -> AsyncIterator[bytes]:
            yield CONTENT[digest]

        receipt = self.runner.run(
            self.store.receive(tenant, body(), declared_type=declared_type, expected=digest)
        )
        self.condemned.pop(digest, None)
        held = self.held(tenant, digest)
        assert receipt.created == (held is None)
        if held is None:
            held = self.model[tenant, digest] = Held(self.now, declared_type)
        held.declared_type = declared_type or held.declared_type
        held.lease = self.now + LEASE
        assert receipt.grant.created_at == held.created_at

    @rule(tenant=tenants, wanted=st.lists(digests))
    def stat_many(self, tenant: str, wanted: list[Digest]) -> None:
        found = self.runner.run(self.store.stat_many(tenant, wanted))
        for digest in wanted:
            if held := self.held(tenant, digest):
                self.use(held)
            assert (digest in found) == (held is not None)

    @rule(tenant=tenants, digest=digests)
    def read(self, tenant: str, digest: Digest) -> None:
        async def read() -> bytes:
            async with await self.store.open_blob(tenant, digest) as reader:
                return bytes(await reader.read_piece(0))

        if held := self.held(tenant, digest):
            assert self.runner.run(read()) == CONTENT[digest]
            self.use(held)
        else:
            with pytest.raises(BlobNotFoundError):
                self.runner.run(read())

    @rule(tenant=tenants, wanted=st.lists(digests))
    def missing(self, tenant: str, wanted: list[Digest]) -> None:
        answer = self.runner.run(self.store.missing(tenant, wanted))
        present = [held for digest in wanted if (held := self.held(tenant, digest))]
        for held in present:
            if held.lease <= self.now + LEASE * 15 / 16:
                held.lease = self.now + LEASE
        absent = [digest for digest in wanted if not self.held(tenant, digest)]
        assert answer.missing == list(dict.fromkeys(absent))
        ends = [held.lease for held in present] or [self.now + LEASE]
        assert answer.lease_expires_at == min(ends)

    @rule(tenant=tenants, digest=digests)
    def release(self, tenant: str, digest: Digest) -> None:
        held = self.held(tenant, digest)
        if held is None:
            with pytest.raises(BlobNotFoundError):
                self.runner.run(self.store.release(tenant, digest))
            return
        remaining = self.runner.run(self.store.release(tenant, digest))
        held.lease, held.pinned = -math.inf, False
        living = {name: end for name, end in held.prompts.items() if end > self.now}
        assert {hold.name: hold.expires_at for hold in remaining} == living

    @rule(tenant=tenants, digest=digests)
    def pin(self, tenant: str, digest: Digest) -> None:
        if held := self.held(tenant, digest):
            assert self.runner.run(self.store.pin(tenant, digest)).pinned
            held.pinned = True
        else:
            with pytest.raises(BlobNotFoundError):
                self.runner.run(self.store.pin(tenant, digest))

    @rule(tenant=tenants, digest=digests)
    def unpin(self, tenant: str, digest: Digest) -> None:
        if held := self.held(tenant, digest):
            assert not self.runner.run(self.store.unpin(tenant, digest)).pinned
            if held.pinned:
                held.pinned, held.lease = False, self.now + LEASE
        else:
            with pytest.raises(BlobNotFoundError):
                self.runner.run(self.store.unpin(tenant, digest))

    @rule(tenant=tenants, digest=digests, text=st.sampled_from(["x", "y"]))
    def keep_a_prompt(self, tenant: str, digest: Digest, text: str) -> None:
        root = prompt_root(DIALECT)
        message = PromptMessage(prompt_step(root, [digest, text]), text, blobs=(digest,))

        async def keep() -> None:
            await self.store.prompts.append(tenant, DIALECT, root, [message])
            await self.store.prompts.flush()

        self.runner.run(keep())
        if held := self.held(tenant, digest):
            held.prompts[message.digest] = self.now + PROMPT

    @rule()
    def sweep(self) -> None:
        self.runner.run(self.store.sweep.run())
        for digest in CONTENT:
            ends = [held.ends_at() for (_, of), held in self.model.items() if of == digest]
            last = max(ends, default=-math.inf)
            if last <= self.now - GRACE:
                self.condemned.setdefault(digest, self.now)
            else:
                self.condemned.pop(digest, None)
            due = self.condemned.get(digest, math.inf) + REVIEW <= self.now
            if last > self.now:
                assert self.has_bytes(digest)
            elif due:
                assert not self.has_bytes(digest)

    @rule()
    def explain(self) -> None:
        async def going() -> set[tuple[str | None, Digest]]:
            return {
                (verdict.tenant, verdict.digest)
                async for verdict in self.store.sweep.explain()
                if verdict.of == "grant" and verdict.goes
            }

        for tenant, digest in self.runner.run(going()):
            assert tenant is not None
            assert self.held(tenant, digest) is None

    def has_bytes(self, digest: Digest) -> bool:
        backend = self.store._backend  # pyright: ignore[reportPrivateUsage]
        file = backend.open(digest)
        if file is not None:
            file.close()
        return file is not None

    @rule(
        seconds=st.sampled_from(
            [1, 29, 31, 61, REVIEW, LEASE // 16, LEASE // 2, LEASE, PROMPT, PROMPT + 1]
        )
    )
    def advance(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def lists_and_stats_agree(self) -> None:
        if not hasattr(self, "store"):
            return
        for tenant in ("a", "b"):
            expected = {
                digest: (
                    held.created_at,
                    held.declared_type or OCTET_STREAM,
                    held.pinned,
                    held.lease if held.lease > self.now else None,
                )
                for (owner, digest), held in self.model.items()
                if owner == tenant and held.lives(self.now)
            }
            page = self.runner.run(self.store.list_grants(tenant, after=None, limit=10))
            listed = {
                grant.digest: (
                    grant.created_at,
                    grant.media_type,
                    grant.pinned,
                    grant.lease_expires_at,
                )
                for grant in page.items
            }
            assert listed == expected
            for digest in CONTENT:
                grant = self.runner.run(self.store.stat(tenant, digest))
                assert (grant is not None) == (digest in expected)


class DiskStoreMachine(StoreMachine):
    """The same on disk, where a store can be closed and opened again."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())

    def teardown(self) -> None:
        super().teardown()
        assert self.folder is not None
        shutil.rmtree(self.folder)

    @rule()
    def reopen(self) -> None:
        self.runner.run(self.store.close())
        self.store = self.runner.run(self.open())


def effort(examples: int) -> settings:
    """Return how much to try; ten times as much at night."""
    times = 20 if os.environ.get("COATCHECK_NIGHTLY") else 1
    return settings(
        max_examples=examples * times,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


StoreMachine.TestCase.settings = effort(20)
DiskStoreMachine.TestCase.settings = effort(5)
TestStoreMachine = StoreMachine.TestCase
TestDiskStoreMachine = DiskStoreMachine.TestCase
