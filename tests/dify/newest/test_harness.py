"""The harness with the newest SDK."""

import pytest

from ...clients.environments import DIFY
from ..contract import HarnessContract

pytestmark = pytest.mark.system


class TestNewestSdk(HarnessContract):
    environment = DIFY
