"""The plugin hook with the newest SDK."""

import pytest

from ...clients.environments import DIFY
from ..hooked import LeanHookContract, beside

__all__ = ["beside"]
pytestmark = pytest.mark.system


class TestNewestSdk(LeanHookContract):
    environment = DIFY
