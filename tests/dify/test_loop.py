"""The loop with the SDKs that run on every Python of ours."""

from collections.abc import Callable

import pytest

from ..clients.environments import DIFY_ECHOING, DIFY_OLD, Environment
from .loop_contract import EdgeContract, InFrontContract
from .loop_faults import FaultContract
from .loop_hook import LoopHookContract
from .middle import Edge, Front, Way

pytestmark = pytest.mark.system


class TestEchoingSdkBehindUs(InFrontContract):
    environment = DIFY_ECHOING
    image_bytes = 20_000  # it takes seconds for megabytes, and says them again in each chunk


class TestOldSdkBehindUs(InFrontContract):
    environment = DIFY_OLD


class TestOldSdkBehindAnEdge(EdgeContract):
    environment = DIFY_OLD
    image_bytes = 100_000  # it takes 20 s of a processor to read a line of 52 MB


class TestOldSdkWithTheHook(LoopHookContract):
    environment = DIFY_OLD


class TestFaultsBehindUs(FaultContract):
    @pytest.fixture
    def way(self, fronts: Callable[[Environment], Front]) -> Way:
        return fronts(DIFY_OLD)


class TestFaultsBehindAnEdge(FaultContract):
    @pytest.fixture
    def way(self, edges: Callable[[Environment], Edge]) -> Way:
        return edges(DIFY_OLD)
