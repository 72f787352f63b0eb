"""What can go wrong on the command line, each with the fault it names."""

from typing import ClassVar

__all__ = ["CliError", "DemoError", "QuantityError", "ServerStartError"]


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
