"""A daemon's store on another host: the link, the copies, and the face of both."""

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Self

from aiohttp import web

from coatcheck.client import StoreLink
from coatcheck.protocol import DAEMON_HEADER, DEFAULT_TENANT, Digest
from coatcheck.store import BodySpools
from coatcheck.web import (
    Face,
    Keyring,
    OpenKeyring,
    ProblemError,
    ReadinessCheck,
    Route,
    Siblings,
)

from .availability import Availability
from .blobs import BlobHandlers, blob_routes
from .cache import DiskCache
from .disk_inventory import DiskInventory
from .errors import DaemonError, StoreLoopError, StoreUnavailableError
from .files_passage import FilesPassage
from .forward import HttpUpstream
from .history import RemoteResponses
from .links import RemoteLinks
from .metered import MeteredUpstream
from .meters import Meters, NoMeters
from .passage import Passage
from .remote_blobs import RemoteBlobs
from .remote_config import RemoteConfig
from .remote_keyring import RemoteKeyring
from .remote_origin import RemoteOrigin
from .remote_prompts import RemotePrompts
from .store_passage import StorePassage
from .upstream import Upstream

_RELEASED = "/released"
_RELEASED_FILES = "/released-files"
_REMOVED_RESPONSES = "/removed-responses"
_NAME_BYTES = 8
_ANSWERS_SECONDS = 0.5  # less than a prober waits: to take longer is no refusal


class RemoteStore:
    """What a daemon has of a store elsewhere. Open it inside a running loop; close it."""

    def __init__(
        self,
        name: str,
        link: StoreLink,
        cache: DiskCache,
        availability: Availability,
        passed: Upstream,
        keyring: Keyring,
        siblings: Siblings,
        meters: Meters,
        stack: AsyncExitStack,
        clock: Callable[[], float],
        config: RemoteConfig,
    ) -> None:
        """Called by `open`."""
        self._config = config
        self.blobs = RemoteBlobs(link, cache, availability, clock, meters)
        """The blobs that it has, through the cache."""
        self.prompts = RemotePrompts(link, availability, clock)
        """The prompts that it keeps."""
        self.responses = RemoteResponses(
            link,
            availability,
            clock,
            settled=self.prompts.flush,
            on_removed=self._response_removed,
        )
        """What the answers among them are called."""
        self.links = RemoteLinks(link, availability, clock)
        """URLs of the blobs, for whoever fetches them from the store."""
        self.inventory = DiskInventory(cache, self.blobs.name, siblings)
        """What the cache inspection shows."""
        self.keyring = keyring
        """Who may ask: its keys, or without a key of our own everybody on this host."""
        self.cache = cache
        """The copies, and what they count."""
        self._name = name
        self._link = link
        self._availability = availability
        self._passed = passed
        self._siblings = siblings
        self._stack = stack

    @classmethod
    async def open(
        cls,
        config: RemoteConfig,
        *,
        meters: Meters | None = None,
        clock: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = secrets.token_bytes,
        siblings: Siblings | None = None,
    ) -> Self:
        """Open the cache; the store is asked when something is wanted of it. It may be away.

        `siblings` share the cache folder with this process.

        Raises:
            CacheUnusableError: the cache folder cannot be used.
            InvalidArgumentError: the URL is no origin, or the key cannot be one.
        """
        meters = meters or NoMeters()
        async with AsyncExitStack() as stack:
            name = random(_NAME_BYTES).hex()
            link = config.link(name)
            stack.push_async_callback(link.close)
            availability = Availability(link.base_url, time.monotonic)
            origin = RemoteOrigin(link, availability, meters)
            cache = await DiskCache.open(config.cache, origin, clock=clock, random=random)
            stack.push_async_callback(cache.close)
            passed = MeteredUpstream(
                HttpUpstream.open(replace(config.passing, base_url=link.base_url)),
                meters,
                time.monotonic,
                hop="store",
            )
            stack.push_async_callback(passed.close)
            keyring = RemoteKeyring(link, availability, clock) if config.key else OpenKeyring()
            return cls(
                name,
                link,
                cache,
                availability,
                passed,
                keyring,
                siblings or Siblings(),
                meters,
                stack.pop_all(),
                clock,
                config,
            )

    async def close(self) -> None:
        """End what is being fetched, and let go of connections and files. May be called twice."""
        await asyncio.gather(self.responses.close(), self.prompts.close())
        await self._stack.aclose()

    def face(self, providers: Passage) -> Face:
        """Return the routes of blobs and files, and the checks of what they need.

        `providers` is where what is a provider's own goes.

        A store that is away and a cache that keeps nothing can be done without for a while. A store
        that refuses what is asked of it can not.
        """
        passage = StorePassage(self._passed, self._name, self._availability, self._released)
        return Face(
            routes=[
                *blob_routes(BlobHandlers(self.blobs, passage.serve)),
                *passage.routes(),
                *self._files(passage, providers).routes(),
            ],
            checks=[
                ReadinessCheck("store", self._check_store, is_vital=False),
                ReadinessCheck("store_answers", self._check_answers),
                ReadinessCheck("cache", self.cache.fault, is_vital=False),
            ],
            private=[
                Route("POST", f"{_RELEASED}/{{tenant}}/{{digest}}", self._told, scope=None),
                Route(
                    "POST",
                    f"{_RELEASED_FILES}/{{tenant}}/{{file}}",
                    self._told_of_file,
                    scope=None,
                ),
                Route(
                    "POST",
                    f"{_REMOVED_RESPONSES}/{{tenant}}/{{response}}",
                    self._told_of_response,
                    scope=None,
                ),
                *self.inventory.private_routes(),
            ],
        )

    def gate(self, request: web.Request) -> None:
        """Turn away what a daemon asks of its store: this is none. Asks nobody.

        Raises:
            ProblemError: 508 `loop_detected`.
        """
        asker = request.headers.get(DAEMON_HEADER)
        if asker is not None:
            itself = "itself" if asker == self._name else "another daemon"
            raise ProblemError(
                StoreLoopError(f"a daemon's store is {itself}; `--store` names a store").problem
            )

    async def _released(self, tenant: str, digest: Digest) -> None:
        self.blobs.released(tenant, digest)
        await self._siblings.ask(f"{_RELEASED}/{tenant}/{digest}", method="POST")

    def _files(self, store: StorePassage, providers: Passage) -> FilesPassage:
        cache = self._config.cache
        bodies = BodySpools.at(cache.folder, cache.min_free_bytes)
        return FilesPassage(
            store, providers, bodies, self._config.max_blob_bytes, self._file_released
        )

    async def _file_released(self, tenant: str, file_id: str) -> None:
        self.blobs.file_released(tenant, file_id)
        await self._siblings.ask(f"{_RELEASED_FILES}/{tenant}/{file_id}", method="POST")

    async def _told_of_file(self, request: web.Request) -> web.StreamResponse:
        """Learn from a sibling that a tenant ended a file."""
        self.blobs.file_released(request.match_info["tenant"], request.match_info["file"])
        return web.Response()

    async def _response_removed(self, tenant: str, response_id: str) -> None:
        await self._siblings.ask(f"{_REMOVED_RESPONSES}/{tenant}/{response_id}", method="POST")

    async def _told_of_response(self, request: web.Request) -> web.StreamResponse:
        """Learn from a sibling that the id of a response names nothing any more."""
        self.responses.removed(request.match_info["tenant"], request.match_info["response"])
        return web.Response()

    async def _told(self, request: web.Request) -> web.StreamResponse:
        """Learn from a sibling that a tenant dropped a blob."""
        tenant, digest = request.match_info["tenant"], Digest(request.match_info["digest"])
        self.blobs.released(tenant, digest)
        return web.Response()

    async def _check_store(self) -> str | None:
        """Say that the store is away, or takes longer than a prober waits."""
        try:
            async with self._availability.asking():
                await self._link.ready()
                await self._ask_for_nothing()
        except StoreUnavailableError as error:
            return f"{error}; what was asked for lately goes on"
        except DaemonError:
            return None  # it is not away
        return None

    async def _check_answers(self) -> str | None:
        """Ask what turns ask, with the key that they do, and say that the store refuses it."""
        try:
            async with asyncio.timeout(_ANSWERS_SECONDS), self._availability.asking():
                await self._ask_for_nothing()
        except (StoreUnavailableError, TimeoutError):
            return None  # the other check says so
        except DaemonError as error:
            return str(error)
        return None

    async def _ask_for_nothing(self) -> None:
        await self._link.resolve(DEFAULT_TENANT, [], is_use=False)
