"""Erasures against a dict: one person's ends nobody else's, in any order of calls.

`COATCHECK_NIGHTLY` tries ten times as many orders.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from coatcheck.protocol import Digest, prompt_root, prompt_step
from coatcheck.store import Left, PromptMessage, Store, StoreConfig

pytestmark = pytest.mark.timeout(900)

DIALECT = "openai.chat"
ROOT = prompt_root(DIALECT)
CONTENT = {Digest.of(data): data for data in (b"one", b"two", b"three")}
NOTHING = Left(rows=0, files=0, databases=0, keys=0)

tenants = st.sampled_from(["a", "b"])
people = st.sampled_from([None, "ann", "bob"])
digests = st.sampled_from(sorted(CONTENT))


@dataclass
class Held:
    """Whom a grant is for: None stands for somebody without a name."""

    people: set[str | None] = field(default_factory=set[str | None])


@dataclass
class Kept:
    """A kept message: what it follows, and whose it is alone."""

    parent: Digest
    person: str | None


class EraseMachine(RuleBasedStateMachine):
    """Each rule does the same to both; the invariant compares them."""

    def __init__(self) -> None:
        super().__init__()
        self.grants: dict[tuple[str, Digest], Held] = {}
        self.messages: dict[tuple[str, Digest], Kept] = {}
        self.runner = asyncio.Runner()

    @initialize()
    def begin(self) -> None:
        self.store = self.runner.run(Store.open(StoreConfig(None), clock=lambda: 1_000_000.0))

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.runner.run(self.store.close())
        self.runner.close()

    @rule(tenant=tenants, digest=digests, person=people)
    def put(self, tenant: str, digest: Digest, person: str | None) -> None:
        async def body() -> AsyncIterator[bytes]:
            yield CONTENT[digest]

        self.runner.run(self.store.receive(tenant, body(), end_user=person))
        self.grants.setdefault((tenant, digest), Held()).people.add(person)

    @rule(tenant=tenants, digest=digests, person=people)
    def ask(self, tenant: str, digest: Digest, person: str | None) -> None:
        answer = self.runner.run(self.store.missing(tenant, [digest], end_user=person))
        held = self.grants.get((tenant, digest))
        assert (answer.missing == []) == (held is not None)
        if held is not None and person is not None:
            held.people.add(person)

    @rule(tenant=tenants, digest=digests, with_file=st.booleans())
    def hold(self, tenant: str, digest: Digest, *, with_file: bool) -> None:
        if (tenant, digest) in self.grants:
            self.runner.run(self.store.pin(tenant, digest))
            if with_file:
                self.runner.run(self.store.files.create(tenant, digest))

    @rule(
        data=st.data(), tenant=tenants, person=people, text=st.sampled_from(["x", "y"]),
        digest=digests,
    )  # fmt: skip
    def keep(
        self, data: st.DataObject, tenant: str, person: str | None, text: str, digest: Digest
    ) -> None:
        parents = [name for owner, name in self.messages if owner == tenant][-2:] or [ROOT]
        parent = data.draw(st.sampled_from([*parents, ROOT]))
        message = PromptMessage(prompt_step(parent, text), text, blobs=(digest,))
        self.runner.run(
            self.store.prompts.append(tenant, DIALECT, parent, [message], end_user=person)
        )
        known = self.messages.get((tenant, message.digest))
        if known is None:
            self.messages[tenant, message.digest] = Kept(parent, person)
        elif known.person != person:
            known.person = None

    @rule(tenant=st.just("b"))  # the other's conversations grow longer
    def erase_tenant(self, tenant: str) -> None:
        assert self.runner.run(self.store.erasure.erase_tenant(tenant)).left == NOTHING
        for owned in (self.grants, self.messages):
            for owner, digest in [key for key in owned if key[0] == tenant]:
                del owned[owner, digest]

    @rule(tenant=tenants, person=st.sampled_from(["ann", "bob"]))
    def erase_person(self, tenant: str, person: str) -> None:
        erased = self.runner.run(self.store.erasure.erase_end_user(tenant, person))
        assert erased.left == NOTHING
        for (owner, digest), held in list(self.grants.items()):
            if owner == tenant and person in held.people:
                held.people.discard(person)
                if not held.people:
                    del self.grants[owner, digest]
        gone = {ROOT: False}
        for (owner, digest), kept in list(self.messages.items()):  # parents came first
            if owner == tenant:
                gone[digest] = kept.person == person or gone[kept.parent]
                if gone[digest]:
                    del self.messages[owner, digest]
        erased = self.runner.run(self.store.erasure.erase_end_user(tenant, person))
        assert (erased.ended_grants, erased.removed_prompts) == (0, 0)

    @invariant()
    def what_is_left_agrees(self) -> None:
        if not hasattr(self, "store"):
            return
        for tenant in ("a", "b"):
            page = self.runner.run(self.store.list_grants(tenant, after=None, limit=10))
            assert {grant.digest for grant in page.items} == {
                digest for owner, digest in self.grants if owner == tenant
            }
            self.runner.run(self.store.prompts.flush())
            kept = [digest for owner, digest in self.messages if owner == tenant]
            assert self.runner.run(self.store.prompts.count_of(tenant, None)) == len(kept)
            for digest in kept:
                assert self.runner.run(self.store.prompts.expand(tenant, DIALECT, digest))


EraseMachine.TestCase.settings = settings(
    max_examples=200 if os.environ.get("COATCHECK_NIGHTLY") else 20,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestEraseMachine = EraseMachine.TestCase
