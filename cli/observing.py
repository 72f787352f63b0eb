"""The observer of a process: what it is told of the settings, and where its file is."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from coatcheck import daemon

from .settings import Settings

__all__ = ["open_observer"]


async def open_observer(
    settings: Settings,
    folder: Path,
    meters: daemon.Meters,
    stack: AsyncExitStack,
    clock: Callable[[], float],
) -> daemon.RecordingObserver:
    """Open the observer whose file lies in a folder that is there; the stack closes it.

    `clock` gives Unix seconds.

    Raises:
        StoreError: the file is not ours, or the disk refused.
    """
    terms = daemon.Terms(
        prompt_seconds=settings.prompt_seconds, lease_seconds=settings.lease_seconds
    )
    config = daemon.ObserverConfig(limits=daemon.ObservationLimits(terms))
    observer = await daemon.RecordingObserver.open(
        folder / daemon.OBSERVATIONS_FILE, config, meters=meters, clock=clock
    )
    stack.push_async_callback(observer.close)
    return observer
