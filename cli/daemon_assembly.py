"""What `daemon` serves: the gateway, the blobs of its cache, and the store's routes passed through."""

from contextlib import AsyncExitStack
from dataclasses import replace

from coatcheck import daemon, web
from coatcheck.client import InvalidArgumentError

from .assembly import Assembly
from .authority import authority
from .daemon_meters import DaemonMeters
from .errors import SettingsError
from .ledger import open_ledger
from .measures import measure_copies
from .observing import open_observer
from .service import require_loopback
from .settings import Settings
from .surroundings import Surroundings
from .variants import open_shelf

__all__ = ["assemble_daemon"]


async def assemble_daemon(
    settings: Settings, surroundings: Surroundings, stack: AsyncExitStack
) -> Assembly:
    """Open the cache, the link to the store and the daemon. The store may be away.

    A daemon that is only an edge has neither cache nor store.

    Raises:
        CacheError, StoreError: the cache folder cannot be used.
        SettingsError: the daemon's key, or an upstream's, is not to be had.
        NotLoopbackError: it has no key, and would serve other hosts.
    """
    if settings.is_storeless:
        return await _assemble_edge(settings, surroundings, stack)
    daemon_config = _knowing_the_store(
        settings.daemon_config(surroundings.environment), settings.store_url
    )
    remote_config = settings.remote_config(surroundings.environment)
    if remote_config.key is None:
        require_loopback(settings.host, None)  # before anything is made
    metrics = web.Metrics(surroundings.siblings)
    meters = DaemonMeters(metrics)
    try:
        remote = await daemon.RemoteStore.open(
            remote_config,
            meters=meters,
            clock=surroundings.clock,
            siblings=surroundings.siblings,
        )
    except InvalidArgumentError as error:
        raise SettingsError(f"store: {error}") from error
    stack.push_async_callback(remote.close)
    resolving = daemon.Daemon.open(
        daemon_config,
        remote.blobs,
        remote.prompts,
        observer=await open_observer(settings, settings.cache, meters, stack, surroundings.clock),
        meters=meters,
        inventory=remote.inventory,
        clock=surroundings.clock,
        shelf=await open_shelf(settings, settings.cache, stack, surroundings.clock),
        ledger=await open_ledger(settings, settings.cache, stack),
        responses=remote.responses,
        links=remote.links,
        files=daemon.copies_folder(settings.cache),
    )
    stack.push_async_callback(resolving.close)
    measure_copies(metrics, remote.cache, remote_config.cache)
    return Assembly(
        [remote.face(resolving.passage), resolving.face(), metrics.face()],
        remote.keyring,
        metrics,
        remote.gate,
    )


async def _assemble_edge(
    settings: Settings, surroundings: Surroundings, stack: AsyncExitStack
) -> Assembly:
    """Open a daemon whose turns are its remotes' to read: all that it has is what it knows of them."""
    config = settings.daemon_config(surroundings.environment)
    require_loopback(settings.host, None)  # whoever reaches it has its key
    metrics = web.Metrics(surroundings.siblings)
    meters = DaemonMeters(metrics)
    remote = daemon.RemoteFace.open(config.upstreams, meters)
    stack.push_async_callback(remote.close)
    serving = daemon.Daemon.open(
        config,
        daemon.NoBlobs(),
        daemon.NoPrompts(),
        meters=meters,
        clock=surroundings.clock,
        siblings=surroundings.siblings,
    )
    stack.push_async_callback(serving.close)
    faces = [remote.face(), serving.face(), metrics.face()]
    return Assembly(faces, web.OpenKeyring(), metrics)


def _knowing_the_store(config: daemon.DaemonConfig, url: str) -> daemon.DaemonConfig:
    """Return a configuration to which the store's blob URLs are refs too."""
    origins = config.gateway.public_origins | {authority(url)}
    return replace(config, gateway=replace(config.gateway, public_origins=origins))
