"""The commands that serve, by name, with what each opens."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .assembly import Assemble, assemble_api, assemble_serve
from .daemon_assembly import assemble_daemon


@dataclass(frozen=True, slots=True)
class Service:
    """One of them."""

    assemble: Assemble
    has_store: bool
    """Whether it serves the data folder, which one server at a time does, with all its workers."""


SERVICES: Mapping[str, Service] = MappingProxyType(
    {
        "serve": Service(assemble_serve, has_store=True),
        "api": Service(assemble_api, has_store=True),
        "daemon": Service(assemble_daemon, has_store=False),
    }
)
