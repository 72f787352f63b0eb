"""The hook's splice with the SDKs that run on every Python of ours."""

from ..clients.environments import DIFY_ECHOING, DIFY_OLD
from .splicing import SplicingContract


class TestEchoingSdk(SplicingContract):
    environment = DIFY_ECHOING


class TestOldSdk(SplicingContract):
    environment = DIFY_OLD
