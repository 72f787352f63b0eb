"""What can go wrong for a program that uses the clients.

`retryable` says whether doing the same call again can help. Nothing in this folder retries on
its own, except the two documented fall-backs of `chat`. Errors of `coatcheck.protocol` about the
caller's own values (a malformed digest, ref or message) are raised as they are.
"""

from dataclasses import dataclass

from coatcheck.protocol import Digest


class ClientError(Exception):
    """Base of every error that this folder raises."""

    retryable: bool = False


class InvalidArgumentError(ClientError, ValueError):
    """The caller passed a value that no call can take; the message names it."""


class ClientClosedError(ClientError):
    """The caller used a client after closing it."""


class LocalFileError(ClientError):
    """A file of the caller's cannot be read or written; the cause is the system's error."""


class FileChangedError(LocalFileError):
    """What was put changed between hashing and sending; the server kept nothing of it."""

    retryable = True


class ConnectionFailedError(ClientError):
    """No connection, or it broke before the answer was whole. The server may have acted."""

    retryable = True


class TimedOutError(ConnectionFailedError):
    """The server let one of the client's time limits pass."""


class InvalidAnswerError(ClientError):
    """The server answered with something that is not the protocol: the server's fault."""


class DigestMismatchError(ClientError):
    """Bytes that arrived do not have the digest or the size they were asked by.

    On a download the server sent wrong bytes; on an upload it received wrong ones. Neither side
    keeps them.
    """

    retryable = True


class StreamBrokenError(ConnectionFailedError):
    """A streamed answer stopped before its end; what arrived is not the whole answer."""


class ServerError(ClientError):
    """The server refused. `code` is its stable word, None where the answer carries none."""

    def __init__(self, status: int, code: str | None, detail: str, retryable: bool = False) -> None:
        super().__init__(status, code, detail, retryable)  # all of them, so that it pickles
        self.status = status
        self.code = code
        self.detail = detail
        self.retryable = retryable

    def __str__(self) -> str:
        return f"{self.status} {self.code or 'error'}: {self.detail}"


class StreamError(ServerError):
    """A streamed answer ended in the server's or the upstream's error event."""


@dataclass(frozen=True, slots=True)
class MissingBlob:
    """One attachment that does not resolve: its digest or file id, and the dotted path."""

    digest: Digest | None = None
    file_id: str | None = None
    path: str | None = None

    def __str__(self) -> str:
        name = self.digest or self.file_id or "an attachment"
        return f"{name} at {self.path}" if self.path else name


class _NotFoundError(ServerError):
    """The server lacks what a request names; `missing` lists all of it."""

    def __init__(
        self, status: int, code: str, detail: str, missing: tuple[MissingBlob, ...] = ()
    ) -> None:
        super().__init__(status, code, detail)
        self.args = (status, code, detail, missing)
        self.missing = missing


class PromptNotFoundError(_NotFoundError):
    """The server does not know the prompt that a request continues."""


class FieldNotFoundError(_NotFoundError):
    """The server does not know values that a request names by their digests."""


class BlobNotFoundError(ServerError):
    """No grant of this key names the blob. `missing` lists all that do not resolve."""

    def __init__(self, missing: tuple[MissingBlob, ...], detail: str = "") -> None:
        super().__init__(404, "blob_not_found", detail)
        self.args = (missing, detail)
        self.missing = missing

    def __str__(self) -> str:
        return f"not found: {', '.join(map(str, self.missing)) or self.detail}"


class PluginEnvironmentError(ClientError):
    """A plugin's virtual environment cannot be read or written; the message says which, and why."""
