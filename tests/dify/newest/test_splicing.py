"""The hook's splice with the newest SDK."""

from ...clients.environments import DIFY
from ..splicing import SplicingContract


class TestNewestSdk(SplicingContract):
    environment = DIFY
