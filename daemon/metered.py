"""Measuring wrappers: each is what it wraps, and tells the meters what passes through it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Literal

from coatcheck.protocol import Buffer, Digest

from .body import Body
from .errors import DaemonError
from .meters import Meters
from .source import BlobSource, KeptMessage, PieceReader, PromptSource, Resolved
from .upstream import Answer, Outgoing, Upstream, UpstreamConfig

Clock = Callable[[], float]

_TELL_BYTES = 4 * 1024 * 1024
"""Of a body, until the meters are told: to tell them costs as much as sending some kilobytes."""


class MeteredBlobs:
    """A `BlobSource` whose answers are timed."""

    def __init__(self, blobs: BlobSource, meters: Meters, clock: Clock) -> None:
        """`clock` gives seconds and never goes back."""
        self._blobs = blobs
        self._meters = meters
        self._clock = clock

    @property
    def name(self) -> str:
        """As the source's."""
        return self._blobs.name

    async def resolve(self, tenant: str, digests: Collection[Digest]) -> dict[Digest, Resolved]:
        """See `BlobSource.resolve`."""
        began = self._clock()
        try:
            return await self._blobs.resolve(tenant, digests)
        finally:
            self._meters.resolved("grants", self._clock() - began)

    async def find_files(self, tenant: str, file_ids: Collection[str]) -> dict[str, Digest]:
        """See `BlobSource.find_files`."""
        began = self._clock()
        try:
            return await self._blobs.find_files(tenant, file_ids)
        finally:
            self._meters.resolved("grants", self._clock() - began)

    async def prepare(self, tenant: str, blobs: Collection[Resolved]) -> Collection[Digest]:
        """See `BlobSource.prepare`."""
        began = self._clock()
        try:
            return await self._blobs.prepare(tenant, blobs)
        finally:
            self._meters.resolved("bytes", self._clock() - began)

    async def open(self, tenant: str, digest: Digest) -> PieceReader:
        """See `BlobSource.open`."""
        return await self._blobs.open(tenant, digest)

    async def claim(
        self, tenant: str, digests: Collection[Digest], end_user: str
    ) -> Collection[Digest]:
        """See `BlobSource.claim`."""
        return await self._blobs.claim(tenant, digests, end_user)

    async def held(self, tenant: str, digests: Collection[Digest]) -> Collection[Digest]:
        """See `BlobSource.held`."""
        return await self._blobs.held(tenant, digests)

    async def absorb(
        self, tenant: str, data: bytes, media_type: str | None, *, end_user: str | None = None
    ) -> Digest:
        """See `BlobSource.absorb`."""
        return await self._blobs.absorb(tenant, data, media_type, end_user=end_user)


class MeteredPrompts:
    """A `PromptSource` whose outcomes are counted."""

    def __init__(self, prompts: PromptSource, meters: Meters) -> None:
        self._prompts = prompts
        self._meters = meters

    async def expand(self, tenant: str, dialect: str, digest: Digest) -> list[str] | None:
        """See `PromptSource.expand`."""
        texts = await self._prompts.expand(tenant, dialect, digest)
        if texts is None:
            self._meters.prompt("not_found")
        return texts

    async def append(
        self,
        tenant: str,
        dialect: str,
        parent: Digest,
        messages: Sequence[KeptMessage],
        *,
        end_user: str | None = None,
    ) -> None:
        """See `PromptSource.append`."""
        try:
            await self._prompts.append(tenant, dialect, parent, messages, end_user=end_user)
        except DaemonError:
            self._meters.prompt("refused")
            raise
        self._meters.prompt("kept")


class MeteredUpstream:
    """An `Upstream` whose requests are timed, and whose bytes are counted.

    Of the hop `store` only the bytes are told.
    """

    def __init__(
        self,
        upstream: Upstream,
        meters: Meters,
        clock: Clock,
        hop: Literal["upstream", "store"] = "upstream",
    ) -> None:
        """`clock` gives seconds and never goes back."""
        self._upstream = upstream
        self._meters = meters
        self._clock = clock
        self._is_store = hop == "store"
        self._carried = meters.store_bytes if self._is_store else meters.upstream_bytes
        self.config: UpstreamConfig = upstream.config
        """As the upstream's."""

    @asynccontextmanager
    async def send(self, outgoing: Outgoing) -> AsyncGenerator[Answer]:
        """See `Upstream.send`."""
        began = self._clock()
        outcome = "failed"
        body = outgoing.body and _CountedBody(outgoing.body, lambda n: self._carried(sent=n))
        try:
            async with self._upstream.send(replace(outgoing, body=body)) as answer:
                outcome = str(answer.status)
                if not self._is_store:
                    self._meters.first_byte(self.config.name, self._clock() - began)
                yield _CountedAnswer(answer, lambda n: self._carried(received=n))
        except DaemonError as error:
            outcome = error.problem.code
            raise
        except asyncio.CancelledError:
            outcome = "gone"
            raise
        finally:
            if not self._is_store:
                self._meters.answered(self.config.name, outcome, self._clock() - began)

    async def close(self) -> None:
        """See `Upstream.close`."""
        await self._upstream.close()


class _CountedBody:
    def __init__(self, body: Body, count: Callable[[int], None]) -> None:
        self._body = body
        self._count = count

    @property
    def size(self) -> int | None:
        return self._body.size

    async def chunks(self) -> AsyncGenerator[Buffer]:
        untold = 0
        try:
            async with aclosing(self._body.chunks()) as chunks:
                async for chunk in chunks:
                    untold += len(chunk)
                    if untold >= _TELL_BYTES:
                        self._count(untold)
                        untold = 0
                    yield chunk
                    del chunk
        finally:
            if untold:
                self._count(untold)


class _CountedAnswer:
    def __init__(self, answer: Answer, count: Callable[[int], None]) -> None:
        self._answer = answer
        self._count = count

    @property
    def status(self) -> int:
        return self._answer.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._answer.headers

    async def chunks(self) -> AsyncGenerator[bytes]:
        async with aclosing(self._answer.chunks()) as chunks:
            async for chunk in chunks:
                self._count(len(chunk))
                yield chunk
