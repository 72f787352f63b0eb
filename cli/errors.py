"""What can go wrong on the command line, each with the fault it names."""

from typing import ClassVar, Final

__all__ = [
    "CheckFailedError",
    "CliError",
    "DemoError",
    "KeyAccessError",
    "MaintenanceError",
    "NotFoundError",
    "PlacementError",
    "QuantityError",
    "RefusedRequestError",
    "RefusedWorkError",
    "ReportError",
    "ServeError",
    "ServerStartError",
    "SettingsError",
    "UnansweredWorkError",
    "UsageError",
    "WorkerError",
]


_REASONS: Final = {400: "Bad Request", 413: "Request Entity Too Large"}


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


class WorkerError(CliError):
    """A worker process cannot serve; the message says why, as far as the worker could."""


class KeyAccessError(CliError):
    """The keys of a data folder cannot be read or written."""


class ReportError(CliError):
    """What was observed cannot be read."""


class MaintenanceError(CliError):
    """Work on a whole store failed; the message says at what."""


class PlacementError(CliError):
    """The hook could not be placed in an environment, or not removed; others may be done."""


class RefusedWorkError(CliError):
    """The server that has the store refuses the work."""


class UnansweredWorkError(CliError):
    """The server that has the store does not answer, or went away."""

    retryable: ClassVar[bool] = True


class CheckFailedError(CliError):
    """`doctor` found something wrong; whose fault it is, the message says."""


class RefusedRequestError(CliError):
    """The client's request may not pass; `response` is the whole answer that it gets."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status} {_REASONS[status]}")
        self.status = status

    @property
    def response(self) -> bytes:
        """The answer in nginx's form, which closes the connection."""
        title = f"{self.status} {_REASONS[self.status]}"
        body = (
            f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n"
            f"<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
        )
        return (
            f"HTTP/1.1 {title}\r\nContent-Type: text/html\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}"
        ).encode("ascii")
