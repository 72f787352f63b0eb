"""The bounded memory of kept prompts."""

from concurrent.futures import ThreadPoolExecutor

from coatcheck.client.known import KeptPrompts
from coatcheck.protocol import Digest

A, B, C, D = (Digest.of(letter) for letter in (b"a", b"b", b"c", b"d"))


def test_nothing_is_known_at_first() -> None:
    assert KeptPrompts().longest([A, B]) == 0
    assert KeptPrompts().longest([]) == 0


def test_the_longest_prefix_wins() -> None:
    kept = KeptPrompts()
    kept.remember([A, B])
    assert kept.longest([A, B, C]) == 2
    assert kept.longest([A, D]) == 1
    assert kept.longest([D]) == 0


def test_the_forgotten_is_unknown() -> None:
    kept = KeptPrompts()
    kept.remember([A, B])
    kept.forget([B, C])
    assert kept.longest([A, B]) == 1


def test_the_least_recently_remembered_make_way() -> None:
    kept = KeptPrompts(max_entries=2)
    kept.remember([A, B])
    kept.remember([A])
    kept.remember([C])
    assert kept.longest([B]) == 0
    assert kept.longest([A]) == kept.longest([C]) == 1


def test_threads_may_share_it() -> None:
    kept = KeptPrompts(max_entries=16)
    digests = [Digest.of(str(number).encode()) for number in range(64)]

    def churn(start: int) -> None:
        for _ in range(200):
            kept.remember(digests[start : start + 8])
            kept.longest(digests)
            kept.forget(digests[start : start + 4])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(churn, range(0, 64, 8)))
    assert sum(kept.longest([digest]) for digest in digests) <= 16
