"""For programs: clients that hand in each attachment once, and send each message once."""

from .answer import Assembly, ChatAnswer
from .async_client import AsyncClient
from .blobs import BlobName
from .client import Client
from .content import Progress, Source
from .dehydrate import Messages
from .destination import Destination
from .errors import (
    BlobNotFoundError,
    ClientClosedError,
    ClientError,
    ConnectionFailedError,
    DigestMismatchError,
    FileChangedError,
    InvalidAnswerError,
    InvalidArgumentError,
    LocalFileError,
    MissingBlob,
    PromptNotFoundError,
    ServerError,
    StreamBrokenError,
    StreamError,
    TimedOutError,
)
from .stream import AsyncChatStream, ChatStream
from .unread import unread

__all__ = [
    "Assembly",
    "AsyncChatStream",
    "AsyncClient",
    "BlobName",
    "BlobNotFoundError",
    "ChatAnswer",
    "ChatStream",
    "Client",
    "ClientClosedError",
    "ClientError",
    "ConnectionFailedError",
    "Destination",
    "DigestMismatchError",
    "FileChangedError",
    "InvalidAnswerError",
    "InvalidArgumentError",
    "LocalFileError",
    "Messages",
    "MissingBlob",
    "Progress",
    "PromptNotFoundError",
    "ServerError",
    "Source",
    "StreamBrokenError",
    "StreamError",
    "TimedOutError",
    "unread",
]
