"""A daemon's link to its store: one key for all tenants, each call naming whose blobs it means."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from coatcheck.protocol import (
    Descriptor,
    Digest,
    KeyAnswer,
    PromptAppend,
    ResolveAnswer,
    ResponseAnswer,
    ResponseName,
    SignedUrl,
)

from . import daemon_calls
from .asynchronous import AsyncBody, AsyncDriver
from .endpoint import Endpoint
from .errors import ConnectionFailedError, TimedOutError
from .exchange import Exchange

_T = TypeVar("_T")
_CHARACTERS_PER_SECOND = 256 * 1024  # a slow line between daemon and store


class StoreLink:
    """Asks a store for tenants. Belongs to one event loop; `close` it.

    `base_url` is the store's origin, `key` a daemon's (`coatcheck keys create --daemon`), or None
    where the store has no keys. `name` is what the daemon calls itself: a daemon that is asked in the
    store's place refuses. `connect_seconds` bounds making a connection, `idle_seconds` each
    wait for bytes, `answer_seconds` an answer that is no blob and no list of messages.

    No call waits for another's connection: a question must not stand behind blobs on their way,
    whose number the caller bounds.

    A question that found a connection closed is asked once more: a store that was restarted has
    closed them all. Every call may raise ConnectionFailedError, TimedOutError, ServerError,
    InvalidAnswerError and ClientClosedError.

    Raises:
        InvalidArgumentError: `base_url` is no origin, or the key does not fit into a header.
    """

    def __init__(
        self,
        base_url: str,
        key: str | None = None,
        *,
        name: str = "daemon",
        connect_seconds: float,
        idle_seconds: float,
        answer_seconds: float,
    ) -> None:
        self._endpoint = Endpoint(base_url, key, connect_seconds, idle_seconds, name)
        self._driver = AsyncDriver(self._endpoint, max_connections=0)
        self._answer_seconds = answer_seconds

    @property
    def base_url(self) -> str:
        """The store's origin."""
        return self._endpoint.base_url

    async def resolve(
        self,
        tenant: str,
        digests: Sequence[Digest],
        file_ids: Sequence[str] = (),
        *,
        is_use: bool = True,
    ) -> ResolveAnswer:
        """Return what of this the tenant holds, and what not; a use renews leases."""
        return await self._ask(
            lambda: daemon_calls.resolve(tenant, digests, file_ids, is_use=is_use)
        )

    async def open(self, tenant: str, digest: Digest) -> AsyncBody:
        """Open a blob to be read as it comes; nothing here compares it. The caller closes it.

        Raises:
            BlobNotFoundError: the tenant holds no grant of it.
        """
        _, body = await self._driver.open(daemon_calls.fetch(tenant, digest))
        return body

    async def upload(
        self,
        tenant: str,
        data: bytes,
        digest: Digest,
        media_type: str | None,
        *,
        end_user: str | None = None,
    ) -> Descriptor:
        """Hand in bytes whose digest is known; `end_user` is whom they are for.

        Raises:
            DigestMismatchError: they changed on the way.
        """
        return await self._driver.run(
            daemon_calls.upload(tenant, data, digest, media_type, end_user)
        )

    async def missing(self, tenant: str, digests: Sequence[Digest], end_user: str) -> list[Digest]:
        """Return those that have to be handed in; the others are for the end user too then."""
        return await self._ask(lambda: daemon_calls.missing(tenant, digests, end_user))

    async def signed_url(self, tenant: str, digest: Digest) -> SignedUrl:
        """Return a URL that opens a blob for whoever has it, for one window of the store's.

        Raises:
            BlobNotFoundError: the tenant holds no grant of it.
        """
        return await self._ask(lambda: daemon_calls.signed_url(tenant, digest))

    async def expand(self, tenant: str, dialect: str, digest: Digest) -> list[str] | None:
        """Return the JSON texts of a kept list, oldest first; None when it is not kept."""
        return await self._driver.run(daemon_calls.expand(tenant, dialect, digest))

    async def has_prompt(self, tenant: str, dialect: str, digest: Digest) -> bool:
        """Return whether a list is kept whose messages are known here; a use."""
        return await self._ask(lambda: daemon_calls.has_prompt(tenant, dialect, digest))

    async def append(
        self, tenant: str, wanted: PromptAppend, *, end_user: str | None = None
    ) -> None:
        """Keep messages that continue a prompt. May be called twice.

        Raises:
            PromptNotFoundError: the parent is not kept.
        """
        size = sum(len(step.text) for step in wanted.messages)
        await self._ask(lambda: daemon_calls.append(tenant, wanted, end_user), size)

    async def put_response(
        self, tenant: str, response_id: str, named: ResponseName, *, end_user: str | None = None
    ) -> None:
        """Let the id of a response name a kept prompt. May be called twice.

        Raises:
            PromptNotFoundError: the prompt is not kept.
        """
        await self._ask(lambda: daemon_calls.put_response(tenant, response_id, named, end_user))

    async def find_response(self, tenant: str, response_id: str) -> ResponseAnswer | None:
        """Return what the id of a response names; None: nothing."""
        return await self._ask(lambda: daemon_calls.find_response(tenant, response_id))

    async def remove_response(self, tenant: str, response_id: str) -> bool:
        """Let the id of a response name nothing; return whether it named something.

        Asked again after a lost answer, it may return False though it did.
        """
        return await self._ask(lambda: daemon_calls.remove_response(tenant, response_id))

    async def verify(self, secret: str) -> KeyAnswer | None:
        """Return whose key this is; None when it opens nothing."""
        return await self._ask(lambda: daemon_calls.verify(secret))

    async def ready(self) -> None:
        """Return when the store says that it is ready."""
        await self._ask(daemon_calls.ready)

    async def close(self) -> None:
        """Close all connections. May be called twice."""
        await self._driver.close()

    async def _ask(self, make: Callable[[], Exchange[_T]], size: int = 0) -> _T:
        """Ask within `answer_seconds`, and more for a question of so many characters."""
        seconds = self._answer_seconds + size / _CHARACTERS_PER_SECOND
        try:
            async with asyncio.timeout(seconds):
                try:
                    return await self._driver.run(make())
                except TimedOutError:
                    raise
                except ConnectionFailedError:
                    return await self._driver.run(make())
        except TimeoutError as error:
            raise TimedOutError("the store did not answer in time") from error
