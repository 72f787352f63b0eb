"""What a process serves: the faces of one of the commands, opened in order.

`serve` joins the store's face and the daemon's in one process; `api` is the store's alone. Several
processes may serve the same together: then each opens its own store on the one data folder.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TypeAlias

from coatcheck import api, daemon, store, web

from .daemon_meters import DaemonMeters
from .ledger import open_ledger
from .measures import measure_store, measure_uses
from .observing import open_observer
from .settings import Settings
from .surroundings import Surroundings
from .variants import open_shelf


@dataclass(frozen=True, slots=True)
class Assembly:
    """Faces in the order of precedence, and who may ask."""

    faces: Sequence[web.Face]
    keyring: web.Keyring
    metrics: web.Metrics
    """What the process measures; its face is among the others."""
    gate: web.Gate | None = None
    """Whom to turn away before anything else is asked."""


Assemble: TypeAlias = Callable[[Settings, Surroundings, AsyncExitStack], Awaitable[Assembly]]
"""Opens what a process serves; the stack closes it."""


async def assemble_serve(
    settings: Settings, surroundings: Surroundings, stack: AsyncExitStack
) -> Assembly:
    """Open the store, its face and the daemon in this process.

    Raises:
        StoreError: the data folder cannot be opened, or another process serves it.
        CacheError: the folder of smaller images cannot be used.
        SettingsError: an upstream's key is not in the environment, or it is to fetch and has nowhere to.
    """
    daemon_config = settings.daemon_config(surroundings.environment)
    settings.check_reach()
    blobs = await _open_store(settings, surroundings, stack)
    metrics = web.Metrics(surroundings.siblings)
    meters = DaemonMeters(metrics)
    resolving = daemon.Daemon.open(
        daemon_config,
        daemon.EmbeddedBlobs(blobs),
        daemon.EmbeddedPrompts(blobs),
        observer=await open_observer(settings, settings.data, meters, stack, surroundings.clock),
        meters=meters,
        siblings=surroundings.siblings,
        clock=surroundings.clock,
        shelf=await open_shelf(settings, settings.data, stack, surroundings.clock),
        ledger=await open_ledger(settings, settings.data, stack),
        responses=daemon.EmbeddedResponses(blobs),
        links=_links(settings, blobs),
        files=store.blob_folder(settings.data),
    )
    stack.push_async_callback(resolving.close)
    keyring = await api.StoreKeyring.open(blobs.keys, clock=surroundings.clock)
    measure_store(metrics, blobs)
    measure_uses(metrics, resolving.uses)
    store_face = api.face(blobs, settings.api_config(), elsewhere=resolving.passage)
    return Assembly([store_face, resolving.face(), metrics.face()], keyring, metrics)


async def assemble_api(
    settings: Settings, surroundings: Surroundings, stack: AsyncExitStack
) -> Assembly:
    """Open the store and its face.

    Raises:
        StoreError: the data folder cannot be opened, or another process serves it.
    """
    blobs = await _open_store(settings, surroundings, stack)
    keyring = await api.StoreKeyring.open(blobs.keys, clock=surroundings.clock)
    metrics = web.Metrics(surroundings.siblings)
    measure_store(metrics, blobs)
    return Assembly([api.face(blobs, settings.api_config()), metrics.face()], keyring, metrics)


def _links(settings: Settings, blobs: store.Store) -> daemon.BlobLinks | None:
    """Return what gives providers URLs to fetch; None where no origin is known to lead here."""
    origins = settings.public_urls
    return daemon.EmbeddedLinks(blobs, origins[0]) if origins else None


async def _open_store(
    settings: Settings, surroundings: Surroundings, stack: AsyncExitStack
) -> store.Store:
    blobs = await store.Store.open(
        settings.store_config(), shared=surroundings.shared_folder, clock=surroundings.clock
    )
    stack.push_async_callback(blobs.close)
    maintenance = store.Maintenance(
        blobs,
        settings.data,
        settings.maintenance_config(),
        clock=surroundings.clock,
        monotonic=surroundings.monotonic,
    )
    stack.push_async_callback(maintenance.close)
    maintenance.start()
    return blobs
