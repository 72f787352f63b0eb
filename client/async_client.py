"""The client for event loops; `client.py` says what each call does."""

import secrets
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Self

from coatcheck.protocol import BlobEntry, Descriptor, Digest, JsonObject, Released, SignedUrl

from . import blobs, fetch
from .answer import ChatAnswer
from .asynchronous import AsyncDriver
from .blobs import BlobName, named
from .chat import Chat, begin, chat
from .content import Progress, Source
from .dehydrate import Messages, dehydrate
from .destination import Destination
from .endpoint import Endpoint
from .known import Known
from .put import put
from .stream import AsyncChatStream

Digests = list[Digest]  # inside the class, `list` is its method
RefMessages = list[JsonObject]


class AsyncClient:
    """Talks to a Coatcheck server from an event loop.

    `base_url` is the server's origin, such as `http://127.0.0.1:8420`; `key` begins `cck_`.
    `connect_seconds` bounds making a connection, `idle_seconds` each wait for the next bytes.
    Belongs to one loop, for any number of tasks. Nothing connects before the first call; `close`
    it or use it in an `async with`. Files are read, written and hashed in threads. A call that is
    cancelled leaves nothing behind; it may wait for the file piece being read.

    Every call may raise, besides what its own text says: ConnectionFailedError, TimedOutError,
    ServerError (the server refused), InvalidAnswerError and ClientClosedError. Nothing is retried
    except as `chat` says; each error's `retryable` says whether calling again can help.

    Raises:
        InvalidArgumentError: `base_url` is no origin, or the key does not fit into a header.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None = None,
        *,
        connect_seconds: float = 10.0,
        idle_seconds: float = 300.0,
    ) -> None:
        self._driver = AsyncDriver(Endpoint(base_url, key, connect_seconds, idle_seconds))
        self._known = Known(secrets.randbits(64))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. May be called twice."""
        await self._driver.close()

    async def put(
        self,
        source: Source,
        *,
        media_type: str | None = None,
        progress: Progress | None = None,
        end_user: str | None = None,
    ) -> Descriptor:
        """Store a source's bytes and describe them; what the server has is not sent again.

        `source` is a path, bytes, a binary file (read from where it stands to its end, left
        open) or a Pillow image (see `encode_picture`). It is read twice, in pieces; a file that
        cannot be read twice is copied to a temporary one. `media_type` counts where the content
        does not show it; the descriptor's `ref` says it where the server knows another.
        `progress(sent_bytes, total_bytes)` is called while bytes are sent, and not at all when
        none are. `end_user` is whom the bytes are for, in your own words; by this name they can be
        erased. May be called twice.

        Raises:
            InvalidArgumentError: the source is nothing that can be put, or is empty.
            InvalidMediaTypeError: `media_type` is none.
            InvalidEndUserError: nobody can have the name `end_user`.
            LocalFileError: the file cannot be read.
            FileChangedError: it changed while it was put; nothing is stored.
            DigestMismatchError: the bytes changed on the way; nothing is stored.
        """
        return await self._driver.run(put(source, media_type, progress, end_user))

    async def get(
        self,
        blob: BlobName,
        to: Destination | None = None,
        *,
        progress: Progress | None = None,
    ) -> bytes:
        """Return a blob's bytes, or write them to `to` and return nothing (`b""`).

        Digest and size are verified while the bytes come. A file at the path `to` is replaced
        when the new one is whole, never before; on any error it stays as it was. A binary file
        is written while bytes come, from where it stands, and left open: those before an error
        cannot be taken back, so what is in it counts only once this returns.
        `progress(received_bytes, total_bytes)` is called while bytes come, on the loop; the total is what
        came so far where the server does not say it.

        Raises:
            BlobNotFoundError: this key holds no grant of the blob.
            DigestMismatchError: other bytes came.
            LocalFileError: the file cannot be written.
            InvalidArgumentError: `to` is neither a path nor a binary file.
            InvalidDigestError, InvalidRefError: `blob` is neither a digest nor a ref.
        """
        return await self._driver.run(fetch.get(blob, to, progress))

    async def stat(self, blob: BlobName) -> Descriptor | None:
        """Describe a blob; None when this key holds no grant of it."""
        return await self._driver.run(blobs.stat(named(blob)))

    async def missing(self, names: Iterable[BlobName]) -> Digests:
        """Return the digests that have to be uploaded, each once, in the order given.

        Renews the leases of the others. Any number may be asked for.
        """
        return await self._driver.run(blobs.missing(map(named, names)))

    async def delete(self, blob: BlobName) -> Released:
        """Drop lease and pin; return what still holds the blob. While something does, it resolves.

        Raises:
            BlobNotFoundError: this key holds no grant of the blob.
        """
        return await self._driver.run(blobs.delete(named(blob)))

    async def pin(self, blob: BlobName) -> BlobEntry:
        """Keep a blob until it is unpinned or deleted. May be called twice.

        Raises:
            BlobNotFoundError: this key holds no grant of the blob.
        """
        return await self._driver.run(blobs.pin(named(blob)))

    async def unpin(self, blob: BlobName) -> BlobEntry:
        """Let the blob's lease decide again. May be called twice.

        Raises:
            BlobNotFoundError: this key holds no grant of the blob.
        """
        return await self._driver.run(blobs.unpin(named(blob)))

    async def signed_url(self, blob: BlobName, *, expires_seconds: int | None = None) -> SignedUrl:
        """Return a URL that opens a blob without a key, for whoever is to fetch it.

        It is good for more than `expires_seconds`, or one window of the server's, and for less than
        a window more; within a window the answer stays the same. Whoever has it reads the blob until
        then, or until this key's tenant lets go of it. Renews the lease. May be called twice.

        Raises:
            BlobNotFoundError: this key holds no grant of the blob.
            InvalidArgumentError: nobody may ask for so long.
        """
        return await self._driver.run(blobs.signed_url(named(blob), expires_seconds))

    async def list(self) -> AsyncIterator[BlobEntry]:
        """Iterate over the blobs that this key holds, newest first, asking page by page."""
        cursor: str | None = None
        while True:
            page = await self._driver.run(blobs.page(cursor))
            for entry in page.blobs:
                yield entry
            cursor = page.next_cursor
            if cursor is None:
                return

    async def dehydrate(
        self, messages: Messages, dialect: str = "openai.chat", *, end_user: str | None = None
    ) -> RefMessages:
        """Return the messages with refs in place of inline attachments, all of them uploaded.

        What the server has is not sent; everything missing is asked for at once. Pointers become
        refs too. The caller's messages are not changed. `end_user` is as in `put`.

        Raises:
            InvalidArgumentError: something in the messages is not JSON.
            MalformedMessageError: a message is not the dialect's; its path says where.
            UnknownDialectError: there is no such dialect.
            InvalidEndUserError: nobody can have the name `end_user`.
        """
        return await self._driver.run(dehydrate(messages, dialect, self._known, end_user))

    async def chat(
        self,
        *,
        model: str,
        messages: Messages,
        extra_headers: Mapping[str, str] | None = None,
        **fields: object,
    ) -> ChatAnswer:
        """Send a conversation and return the model's answer; only what is new crosses the wire.

        Pass the whole list on every turn, inline images and all. Append `answer.message` to it
        and the answer is not sent back either. `fields` go into the body as they are, such as
        `temperature=0`; `extra_headers` into the request. An `Authorization` among them is for
        the upstream: the client's own key then rides in `Coatcheck-Key`. A `Coatcheck-User` among
        them, or else the field `safety_identifier` or `user`, names whom the turn and its images
        are for.

        Two things are tried again: a server that does not know the conversation any more is sent
        the whole list, once, and blobs that it lost are uploaded from the messages, twice at most.

        Raises:
            InvalidArgumentError: something is not JSON, or a field is an argument's business.
            MalformedMessageError: a message is not the dialect's; its path says where.
            InvalidEndUserError: nobody can have the name in `Coatcheck-User`.
            BlobNotFoundError: refs do not resolve, and the messages do not hold their bytes.
        """
        asked = Chat(model, messages, fields, extra_headers or {})
        return await self._driver.run(chat(asked, self._known))

    async def chat_stream(
        self,
        *,
        model: str,
        messages: Messages,
        extra_headers: Mapping[str, str] | None = None,
        **fields: object,
    ) -> AsyncChatStream:
        """Like `chat`, but return once the answer begins, to iterate over its chunks.

        Raises:
            the errors of `chat`; those of `AsyncChatStream` while iterating.
        """
        asked = Chat(model, messages, fields, extra_headers or {}, is_streamed=True)
        (prompt, _), body = await self._driver.open(begin(asked, self._known))
        return AsyncChatStream(body, prompt, self._known.prompts)
