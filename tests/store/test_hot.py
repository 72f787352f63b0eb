"""What is remembered of grants, and when it is forgotten."""

import math
from dataclasses import replace

import pytest

from coatcheck.protocol import Digest
from coatcheck.store import Grant
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


@pytest.fixture
def hot() -> HotGrants:
    return HotGrants(entries=3, seconds=30)


def test_an_entry_is_believed_for_thirty_seconds(hot: HotGrants) -> None:
    hot.put(ONE, 100, hot.ticket())
    assert hot.get("a", DIGEST, 130) == ONE
    assert hot.get("a", DIGEST, 130.1) is None
    assert hot.get("a", DIGEST, 100) is None


def test_a_clock_set_back_makes_entries_old(hot: HotGrants) -> None:
    hot.put(ONE, 100, hot.ticket())
    assert hot.get("a", DIGEST, 99) is None


def test_an_entry_ends_with_its_holds(hot: HotGrants) -> None:
    hot.put(replace(ONE, held_until=110), 100, hot.ticket())
    assert hot.get("a", DIGEST, 109.9) is not None
    assert hot.get("a", DIGEST, 110) is None


def test_tenants_are_apart(hot: HotGrants) -> None:
    hot.put(ONE, 100, hot.ticket())
    assert hot.get("b", DIGEST, 100) is None


def test_forgetting_one_tenant_or_all(hot: HotGrants) -> None:
    for tenant in ("a", "b"):
        hot.put(held(tenant, "one"), 100, hot.ticket())
    hot.forget("a", DIGEST)
    assert hot.get("a", DIGEST, 100) is None
    assert hot.get("b", DIGEST, 100) is not None
    hot.forget_blob(DIGEST)
    assert hot.get("b", DIGEST, 100) is None


def test_an_answer_from_before_a_change_is_not_remembered(hot: HotGrants) -> None:
    ticket = hot.ticket()
    hot.forget("a", DIGEST)
    hot.put(ONE, 100, ticket)
    assert hot.get("a", DIGEST, 100) is None


def test_the_least_recently_used_goes_first(hot: HotGrants) -> None:
    for name in ("one", "two", "three"):
        hot.put(held("a", name), 100, hot.ticket())
    assert hot.get("a", DIGEST, 100) is not None
    hot.put(held("a", "four"), 100, hot.ticket())
    assert len(hot) == 3
    assert hot.get("a", DIGEST, 100) is not None
    assert hot.get("a", Digest.of(b"two"), 100) is None
