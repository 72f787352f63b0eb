"""How a command that serves is run: in this process, or by workers under it."""

import asyncio
import gc
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import click

from coatcheck.daemon import CacheError
from coatcheck.store import StoreError
from coatcheck.web import WebError

from .address_file import AddressFile
from .errors import ServeError
from .log import log_to_stderr
from .service import require_loopback, run
from .services import SERVICES, Service
from .settings import Settings
from .settings_flags import Flags
from .supervisor import supervise

__all__ = ["launch"]


def launch(service: str, flags: Flags) -> None:
    """Serve until a signal ends it; `service` is of `SERVICES`.

    Raises:
        SettingsError: the settings cannot be read.
        ServeError: the data folder or the address is not to be had.
        WorkerError: a worker cannot serve.
    """
    gc.freeze()  # what is loaded stays; no collection need look at it again, nor the last one
    settings = flags.load()
    log_to_stderr(settings.log_level)
    try:
        if SERVICES[service].has_store and not settings.data.exists():
            require_loopback(settings.host, None)  # it would be made for nothing: it has no keys
        with ExitStack() as stack:
            announce = _announcing(SERVICES[service], settings, stack)
            if settings.workers is None:
                asyncio.run(run(SERVICES[service].assemble, settings, announce))
            else:
                asyncio.run(supervise(service, flags.load, announce))
    except (CacheError, StoreError, WebError) as error:
        raise ServeError(str(error)) from error


def _announcing(
    service: Service, settings: Settings, stack: ExitStack
) -> Callable[[Sequence[str]], None]:
    """Return what tells the addresses, once they are known, and where commands look for them."""
    if not service.has_store:
        return _announce
    address = AddressFile(settings.data)

    def announce(urls: Sequence[str]) -> None:
        stack.enter_context(address.kept())
        address.write(urls)
        _announce(urls)

    return announce


def _announce(urls: Sequence[str]) -> None:
    click.echo("\n".join(f"coatcheck: listening on {url}" for url in urls))
    sys.stdout.flush()
