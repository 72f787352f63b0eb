"""What is remembered of grants, and when it is forgotten."""

import math
import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from coatcheck.protocol import Digest
from coatcheck.store import Grant
from coatcheck.store.changes import CHANGES_BYTES, Changes
from coatcheck.store.grant import HeldBlob
from coatcheck.store.hot import HotGrants


def held(tenant: str, name: str, held_until: float = math.inf) -> HeldBlob:
    grant = Grant(
        tenant=tenant,
        digest=Digest.of(name.encode()),
        size=1,
        declared_type=None,
        sniffed_type=None,
        width=None,
        height=None,
        frames=None,
        created_at=0,
        generation=1,
        lease_expires_at=held_until,
        pinned=False,
    )
    return HeldBlob(grant, b"", 1, held_until)


ONE = held("a", "one")
DIGEST = ONE.grant.digest


def remember(hot: HotGrants, found: HeldBlob) -> None:
    """Put an answer that came at 100."""
    hot.put(found, 100, hot.ticket(found.grant.tenant, [found.grant.digest]))


@pytest.fixture
def memory() -> Iterator[int]:
    """What two processes share."""
    descriptor = os.memfd_create("test")
    os.ftruncate(descriptor, CHANGES_BYTES)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def changes(memory: int) -> Iterator[Changes]:
    shared = Changes(os.urandom, memory)
    yield shared
    shared.close()


@pytest.fixture
def hot(changes: Changes) -> HotGrants:
    return HotGrants(entries=3, seconds=30, changes=changes)


@pytest.fixture
def elsewhere(memory: int) -> Iterator[HotGrants]:
    """What another process remembers."""
    changes = Changes(os.urandom, memory)
    yield HotGrants(entries=3, seconds=30, changes=changes)
    changes.close()


def test_an_entry_is_believed_for_thirty_seconds(hot: HotGrants) -> None:
    remember(hot, ONE)
    assert hot.get("a", DIGEST, 130) == ONE
    assert hot.get("a", DIGEST, 130.1) is None
    assert hot.get("a", DIGEST, 100) is None


def test_a_clock_set_back_makes_entries_old(hot: HotGrants) -> None:
    remember(hot, ONE)
    assert hot.get("a", DIGEST, 99) is None


def test_an_entry_ends_with_its_holds(hot: HotGrants) -> None:
    remember(hot, replace(ONE, held_until=110))
    assert hot.get("a", DIGEST, 109.9) is not None
    assert hot.get("a", DIGEST, 110) is None


def test_tenants_are_apart(hot: HotGrants) -> None:
    remember(hot, ONE)
    assert hot.get("b", DIGEST, 100) is None


def test_forgetting_one_tenant_or_all(hot: HotGrants) -> None:
    for tenant in ("a", "b"):
        remember(hot, held(tenant, "one"))
    hot.forget("a", DIGEST)
    assert hot.get("a", DIGEST, 100) is None
    assert hot.get("b", DIGEST, 100) is not None
    hot.forget_blob(DIGEST)
    assert hot.get("b", DIGEST, 100) is None


def test_an_answer_from_before_a_change_is_not_remembered(hot: HotGrants) -> None:
    ticket = hot.ticket("a", [DIGEST])
    hot.forget("a", DIGEST)
    hot.put(ONE, 100, ticket)
    assert hot.get("a", DIGEST, 100) is None


def test_the_least_recently_used_goes_first(hot: HotGrants) -> None:
    for name in ("one", "two", "three"):
        remember(hot, held("a", name))
    assert hot.get("a", DIGEST, 100) is not None
    remember(hot, held("a", "four"))
    assert len(hot) == 3
    assert hot.get("a", DIGEST, 100) is not None
    assert hot.get("a", Digest.of(b"two"), 100) is None


def test_what_another_process_changes_is_not_believed(hot: HotGrants, elsewhere: HotGrants) -> None:
    for tenant in ("a", "b"):
        remember(hot, held(tenant, "one"))
    elsewhere.forget("a", DIGEST)
    assert hot.get("a", DIGEST, 100) is None
    assert hot.get("b", DIGEST, 100) is not None
    elsewhere.forget_blob(DIGEST)
    assert hot.get("b", DIGEST, 100) is None


def test_an_answer_from_before_another_processs_change_is_not_remembered(
    hot: HotGrants, elsewhere: HotGrants
) -> None:
    ticket = hot.ticket("a", [DIGEST])
    elsewhere.forget("a", DIGEST)
    hot.put(ONE, 100, ticket)
    assert hot.get("a", DIGEST, 100) is None


def test_one_process_alone_sees_its_own_changes() -> None:
    changes = Changes(os.urandom)
    hot = HotGrants(entries=3, seconds=30, changes=changes)
    remember(hot, ONE)
    assert hot.get("a", DIGEST, 100) == ONE
    hot.forget("a", DIGEST)
    assert hot.get("a", DIGEST, 100) is None
    changes.close()
