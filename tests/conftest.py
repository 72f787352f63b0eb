"""What every folder's tests share: the vectors, and how hard properties are tried.

`COATCHECK_NIGHTLY` tries each property ten times as often.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("day", deadline=None)
settings.register_profile("night", deadline=None, max_examples=1000)
settings.load_profile("night" if os.environ.get("COATCHECK_NIGHTLY") else "day")

_VECTORS = Path(__file__).parent / "vectors"


@pytest.fixture(scope="session")
def vectors() -> Callable[[str], Any]:
    """Read one file of `tests/vectors`."""

    def read(name: str) -> Any:
        return json.loads((_VECTORS / f"{name}.json").read_text("utf-8"))

    return read
