"""The loop with the SDKs that run on every Python of ours."""

import pytest

from ..clients.environments import DIFY_ECHOING, DIFY_OLD
from .loop_contract import EdgeContract, InFrontContract
from .loop_hook import LoopHookContract

pytestmark = pytest.mark.system


class TestEchoingSdkBehindUs(InFrontContract):
    environment = DIFY_ECHOING
    image_bytes = 20_000  # it takes seconds for megabytes, and says them again in each chunk


class TestOldSdkBehindUs(InFrontContract):
    environment = DIFY_OLD


class TestOldSdkBehindAnEdge(EdgeContract):
    environment = DIFY_OLD


class TestOldSdkWithTheHook(LoopHookContract):
    environment = DIFY_OLD
