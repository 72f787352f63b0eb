"""Public names are imported when they are first asked for, so each is asked for here."""

import subprocess
import sys
from pathlib import Path

from coatcheck import store


def test_every_public_name_is_there() -> None:
    assert len(store.__all__) > 100
    assert [name for name in store.__all__ if not hasattr(store, name)] == []


def test_no_public_name_is_a_modules() -> None:
    """An imported module would stand in the place of a name that is asked for later."""
    modules = {path.stem for path in Path(str(store.__file__)).parent.glob("*.py")}
    assert modules.isdisjoint(store.__all__)


def test_a_worker_of_images_starts_without_the_store() -> None:
    program = "import sys, coatcheck.store.images.child; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"PIL.Image", "coatcheck.store.images.decode"} <= set(loaded)
    assert {"sqlalchemy", "aiohttp", "coatcheck.store.store"}.isdisjoint(loaded)
