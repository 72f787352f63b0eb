"""`daemon`: the gateway, beside the models, with its own cache of a store elsewhere."""

import click

from .launch import launch
from .settings_flags import Flags, daemon_flags

__all__ = ["daemon"]


@click.command()
@daemon_flags
def daemon(flags: Flags) -> None:
    """Serve the gateway over a store elsewhere, and pass its client routes through.

    Its key is a daemon's (`coatcheck keys create --daemon`), in COATCHECK_KEY or a file; it needs
    none where the store has no keys. Blobs are kept in a bounded folder. While the store is away,
    what it said within the last hour goes on.
    """
    launch("daemon", flags)
