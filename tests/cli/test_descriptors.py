"""How many connections a limit of descriptors carries."""

import resource

import pytest

from coatcheck.cli.descriptors import connections_within, fit_connections


@pytest.mark.parametrize(
    ("descriptors", "carried"),
    [(0, 1), (64, 1), (564, 100), (5183, 1023), (5184, 1024), (100_000, 1024), (-1, 1024)],
)
def test_connections_fit_the_descriptors(descriptors: int, carried: int) -> None:
    assert connections_within(descriptors, 1024) == carried


def test_the_limit_is_never_lowered() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert fit_connections(1) == 1
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before
