"""`serve`, everything in one; `api`, the store's face alone."""

import click

from .launch import launch
from .settings_flags import Flags, settings_flags

__all__ = ["api", "serve"]


@click.command()
@settings_flags
def serve(flags: Flags) -> None:
    """Serve the store, the gateway and the pages, from one data folder.

    Without keys it listens on loopback only. Without any [[upstream]] in the settings, every
    model is the built-in echo. SIGTERM lets running requests end; a second one does not. With
    --workers, SIGHUP reads the settings anew.
    """
    launch("serve", flags)


@click.command()
@settings_flags
def api(flags: Flags) -> None:
    """Serve the store alone, for daemons and clients elsewhere, from one data folder."""
    launch("api", flags)
