"""Stands for the SDKs, each put up once for a worker and emptied for each test."""

from collections.abc import Callable, Generator
from contextlib import ExitStack

import pytest

from ..clients.environments import Environment
from .middle import MAX_BODY_BYTES, Edge, Front, at_the_edge, give_hook, in_front
from .stand import Limits, Stand, standing

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


@pytest.fixture(scope="session")
def stands(tmp_path_factory: pytest.TempPathFactory) -> Generator[Callable[[Environment], Stand]]:
    """Give the stand of an SDK, with nothing recorded; its plugin stays from test to test."""
    made: dict[str, Stand] = {}
    with ExitStack() as stack:

        def give(environment: Environment) -> Stand:
            skip_without(environment)
            if environment.name not in made:
                folder = tmp_path_factory.mktemp("dify")
                made[environment.name] = stack.enter_context(standing(environment, folder))
            made[environment.name].forget()
            return made[environment.name]

        yield give


@pytest.fixture(scope="session")
def fronts(
    stands: Callable[[Environment], Stand], tmp_path_factory: pytest.TempPathFactory
) -> Generator[Callable[[Environment], Front]]:
    """Give the server before an SDK's stand, which has nothing recorded."""
    made: dict[str, Front] = {}
    with ExitStack() as stack:

        def give(environment: Environment) -> Front:
            stand = stands(environment)
            if environment.name not in made:
                folder = tmp_path_factory.mktemp("front")
                made[environment.name] = stack.enter_context(in_front(stand, folder))
            return made[environment.name]

        yield give


@pytest.fixture(scope="session")
def edges(
    stands: Callable[[Environment], Stand], tmp_path_factory: pytest.TempPathFactory
) -> Generator[Callable[[Environment], Edge]]:
    """Give the edge before an SDK's stand, which has nothing recorded."""
    made: dict[str, Edge] = {}
    with ExitStack() as stack:

        def give(environment: Environment) -> Edge:
            stand = stands(environment)
            if environment.name not in made:
                folder = tmp_path_factory.mktemp("edge")
                made[environment.name] = stack.enter_context(at_the_edge(stand, folder))
            return made[environment.name]

        yield give


@pytest.fixture(scope="session")
def hooked(
    tmp_path_factory: pytest.TempPathFactory,
) -> Generator[Callable[[Environment], Front]]:
    """Give a server before a stand of its own, with nothing recorded, whose plugin has the hook."""
    made: dict[str, Front] = {}
    with ExitStack() as stack:

        def give(environment: Environment) -> Front:
            skip_without(environment)
            if environment.name not in made:
                folder = tmp_path_factory.mktemp("hooked")
                limits = Limits(body_bytes=MAX_BODY_BYTES)
                stand = stack.enter_context(standing(environment, folder / "dify", limits))
                front = stack.enter_context(in_front(stand, folder, has_keys=True, reuse="ref"))
                give_hook(front)
                made[environment.name] = front
            made[environment.name].stand.forget()
            return made[environment.name]

        yield give
