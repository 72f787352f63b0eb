"""What keeps a file from being at a provider. None of it reaches a client: bytes go in its place."""

from typing import ClassVar


class FileError(Exception):
    """A provider has not taken a file, or does not say."""

    retryable: ClassVar[bool] = True


class FileRefusedError(FileError):
    """It does not take this one, and would not take it later: for its type, its size, its bytes."""

    retryable = False


class OwnerRefusedError(FileError):
    """It takes none from this owner now: too many, too fast, no right, no such API, or it is away.

    `retry_after_seconds` is what it says itself.
    """

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
