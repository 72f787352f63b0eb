"""The shelf of a process's smaller images: where it is, that it is closed, and when it is cleared."""

import asyncio
import logging
import shutil
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from coatcheck import daemon

from .settings import Settings

__all__ = ["open_shelf"]

_log = logging.getLogger("coatcheck")


async def open_shelf(
    settings: Settings, folder: Path, stack: AsyncExitStack, clock: Callable[[], float]
) -> daemon.VariantShelf | None:
    """Open the shelf, in a folder that is there, if an upstream has an image policy.

    Without one, what an earlier policy left is removed: nobody looks after it any more. The stack
    closes the shelf. `clock` gives Unix seconds.

    Raises:
        CacheError: it cannot be used.
    """
    config = settings.variants_config(folder)
    if config is None:
        await asyncio.to_thread(_clear, settings.variants_folder(folder))
        return None
    shelf = await daemon.VariantShelf.open(config, clock=clock)
    stack.push_async_callback(shelf.close)
    return shelf


def _clear(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        _log.warning("images of an earlier policy stay in %s: %s", folder, error)
