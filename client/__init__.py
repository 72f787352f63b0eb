"""For programs: clients that hand in each attachment once, and send each message once."""

from .answer import Assembly, ChatAnswer
from .async_client import AsyncClient
from .asynchronous import AsyncBody
from .blobs import BlobName
from .client import Client
from .content import Progress, Source
from .dehydrate import Messages
from .destination import Destination
from .endpoint import Endpoint
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
from .exchange import Sink
from .store_link import StoreLink
from .stream import AsyncChatStream, ChatStream
from .unread import unread

__all__ = [
    "Assembly",
    "AsyncBody",
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
    "Endpoint",
    "FileChangedError",
    "InvalidAnswerError",
    "InvalidArgumentError",
    "LocalFileError",
    "Messages",
    "MissingBlob",
    "Progress",
    "PromptNotFoundError",
    "ServerError",
    "Sink",
    "Source",
    "StoreLink",
    "StreamBrokenError",
    "StreamError",
    "TimedOutError",
    "unread",
]
