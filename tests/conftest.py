"""What every folder's tests share: the vectors."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_VECTORS = Path(__file__).parent / "vectors"


@pytest.fixture(scope="session")
def vectors() -> Callable[[str], Any]:
    """Read one file of `tests/vectors`."""

    def read(name: str) -> Any:
        return json.loads((_VECTORS / f"{name}.json").read_text("utf-8"))

    return read
