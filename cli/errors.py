"""What can go wrong on the command line, each with the fault it names."""

from typing import ClassVar

__all__ = [
    "CliError",
    "DemoError",
    "NotFoundError",
    "QuantityError",
    "ServeError",
    "ServerStartError",
    "SettingsError",
    "UsageError",
]


class CliError(Exception):
    """Any failure of the command line itself."""

    retryable: ClassVar[bool] = False
    """Whether the same command may succeed when it is simply run again."""


class QuantityError(CliError):
    """The user wrote a rate, time or size that cannot be read."""


class DemoError(CliError):
    """The demonstration met an answer that it did not ask for."""


class ServerStartError(CliError):
    """A server process ended, or said nothing, before it listened."""

    retryable: ClassVar[bool] = True


class SettingsError(CliError):
    """The settings cannot be read, or hold a value that is not allowed; the operator's fault."""


class UsageError(CliError):
    """The command was given something that it cannot work with."""


class NotFoundError(CliError):
    """What the command names is not there."""


class ServeError(CliError):
    """The server cannot start: its data folder or its address is not to be had."""
