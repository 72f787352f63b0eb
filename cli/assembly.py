"""What a process serves: the faces of one of the commands, opened in order.

`serve` joins the store's face and the daemon's in one process.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TypeAlias

from coatcheck import api, daemon, store, web

from .settings import Settings


@dataclass(frozen=True, slots=True)
class Assembly:
    """Faces in the order of precedence, and who may ask; without a keyring, only loopback."""

    faces: Sequence[web.Face]
    keyring: web.Keyring | None = None


Assemble: TypeAlias = Callable[[Settings, Mapping[str, str], AsyncExitStack], Awaitable[Assembly]]
"""Opens what a process serves; the stack closes it. The mapping is the environment."""


async def assemble_serve(
    settings: Settings, environment: Mapping[str, str], stack: AsyncExitStack
) -> Assembly:
    """Open the store, its face and the daemon in this process.

    Raises:
        StoreError: the data folder cannot be opened, or another process serves it.
        SettingsError: an upstream's key is not in the environment.
    """
    daemon_config = settings.daemon_config(environment)
    blobs = await store.Store.open(settings.store_config())
    stack.push_async_callback(blobs.close)
    resolving = daemon.Daemon.open(
        daemon_config, daemon.EmbeddedBlobs(blobs), daemon.EmbeddedPrompts(blobs)
    )
    stack.push_async_callback(resolving.close)
    return Assembly([api.face(blobs), resolving.face()])
