"""Coatcheck: hand in each image once, carry a ticket."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .client import AsyncClient, Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> object:
    """Import the clients when they are asked for: `protocol` alone stays light."""
    if name in __all__:
        from . import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
