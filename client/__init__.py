"""For programs: clients that hand in each attachment once, and send each message once."""

from .announcement import Announcements
from .answer import Assembly, ChatAnswer
from .async_client import AsyncClient
from .asynchronous import AsyncBody, carry_out
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
    FieldNotFoundError,
    FileChangedError,
    InvalidAnswerError,
    InvalidArgumentError,
    LocalFileError,
    MissingBlob,
    PluginEnvironmentError,
    PromptNotFoundError,
    ServerError,
    StreamBrokenError,
    StreamError,
    TimedOutError,
)
from .exchange import Exchange, Join, Outgoing, Reply, Request, Sink, Step, Work
from .familiar import Familiar, TextKey
from .known import DEFAULT_REQUEST_BYTES, MIN_REQUEST_BYTES, Known
from .sdk import Fallback, async_http_client, http_client, wrap
from .store_link import StoreLink
from .stream import AsyncChatStream, ChatStream
from .turn import Taken, Turn, send_as_it_came, take
from .unread import unread
from .upload import Spent

__all__ = [
    "DEFAULT_REQUEST_BYTES",
    "MIN_REQUEST_BYTES",
    "Announcements",
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
    "Exchange",
    "Fallback",
    "Familiar",
    "FieldNotFoundError",
    "FileChangedError",
    "InvalidAnswerError",
    "InvalidArgumentError",
    "Join",
    "Known",
    "LocalFileError",
    "Messages",
    "MissingBlob",
    "Outgoing",
    "PluginEnvironmentError",
    "Progress",
    "PromptNotFoundError",
    "Reply",
    "Request",
    "ServerError",
    "Sink",
    "Source",
    "Spent",
    "Step",
    "StoreLink",
    "StreamBrokenError",
    "StreamError",
    "Taken",
    "TextKey",
    "TimedOutError",
    "Turn",
    "Work",
    "async_http_client",
    "carry_out",
    "http_client",
    "send_as_it_came",
    "take",
    "unread",
    "wrap",
]
