"""Stands for the SDKs, each put up once for a worker and emptied for each test."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from ..clients.environments import Environment
from .middle import MAX_BODY_BYTES, Edge, Front, Way, at_the_edge, give_hook, in_front
from .stand import Limits, Stand, standing

_Part = TypeVar("_Part")

pytest.register_assert_rewrite(
    "tests.dify.contract",
    "tests.dify.loop_contract",
    "tests.dify.loop_faults",
    "tests.dify.loop_hook",
    "tests.dify.splicing",
)


def skip_without(environment: Environment) -> Environment:
    """Return an environment that this machine can have, or skip the test and say what is missing."""
    if environment.lacks:
        pytest.skip(environment.lacks)
    return environment


@contextmanager
def _once_each(
    put_up: Callable[[Environment, Path], AbstractContextManager[_Part]],
    folders: pytest.TempPathFactory,
    forget: Callable[[_Part], None],
) -> Generator[Callable[[Environment], _Part]]:
    """Yield what gives an SDK's part: put up when it is first asked for, and emptied each time."""
    made: dict[str, _Part] = {}
    with ExitStack() as stack:

        def give(environment: Environment) -> _Part:
            skip_without(environment)
            if environment.name not in made:
                folder = folders.mktemp("dify")
                made[environment.name] = stack.enter_context(put_up(environment, folder))
            forget(made[environment.name])
            return made[environment.name]

        yield give


@pytest.fixture(scope="session")
def stands(tmp_path_factory: pytest.TempPathFactory) -> Generator[Callable[[Environment], Stand]]:
    """Give the stand of an SDK, with nothing recorded; its plugin stays from test to test."""
    with _once_each(standing, tmp_path_factory, Stand.forget) as give:
        yield give


@pytest.fixture(scope="session")
def fronts(
    stands: Callable[[Environment], Stand], tmp_path_factory: pytest.TempPathFactory
) -> Generator[Callable[[Environment], Front]]:
    """Give the server before an SDK's stand, which has nothing recorded."""

    def put_up(environment: Environment, folder: Path) -> AbstractContextManager[Front]:
        return in_front(stands(environment), folder)

    with _once_each(put_up, tmp_path_factory, _forget) as give:
        yield give


@pytest.fixture(scope="session")
def edges(
    stands: Callable[[Environment], Stand], tmp_path_factory: pytest.TempPathFactory
) -> Generator[Callable[[Environment], Edge]]:
    """Give the edge before an SDK's stand, which has nothing recorded."""

    def put_up(environment: Environment, folder: Path) -> AbstractContextManager[Edge]:
        return at_the_edge(stands(environment), folder)

    with _once_each(put_up, tmp_path_factory, _forget) as give:
        yield give


@pytest.fixture(scope="session")
def hooked(
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[Callable[[Environment], Front]]:
    """Give a server before a stand of its own, with nothing recorded, whose plugin has the hook."""
    with _once_each(_with_hook, tmp_path_factory, _forget) as give:
        yield give


@contextmanager
def _with_hook(environment: Environment, folder: Path) -> Generator[Front]:
    limits = Limits(body_bytes=MAX_BODY_BYTES)
    with (
        standing(environment, folder / "dify", limits) as stand,
        in_front(stand, folder, has_keys=True, reuse="ref") as front,
    ):
        give_hook(front)
        yield front


def _forget(way: Way) -> None:
    way.stand.forget()
