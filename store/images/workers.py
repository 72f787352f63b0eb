"""The workers of one process: started when they are needed, used again, replaced when they break.

1. A worker has one request at a time. Whatever becomes of it costs that request and no other.
2. As many wait as may; the next is refused. They are served in the order in which they came.
3. After `close` there is no process, and nobody waits.
"""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager

from coatcheck.protocol import Buffer

from ..errors import (
    ImageRefusal,
    ImageRefusedError,
    ImageWorkerCrashedError,
    ImageWorkerLostError,
    ImageWorkersBusyError,
    StoreClosedError,
    StoreError,
)
from .config import ImageWorkerConfig
from .process import WorkerProcess
from .wire import Answer, Glance, Question, Refused, Variant, VariantHead, VariantSpec


class ImageWorkers:
    """Decodes images for whoever opened it, who closes it. Belongs to one event loop."""

    def __init__(self, config: ImageWorkerConfig | None = None) -> None:
        """Start nothing yet."""
        self._config = config or ImageWorkerConfig()
        self._processes: set[WorkerProcess] = set()
        self._idle: list[WorkerProcess] = []
        self._turns = asyncio.Semaphore(self._config.workers)
        self._waiting = 0
        # What ends each request that runs when the workers are closed.
        self._scopes: set[asyncio.Timeout] = set()
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """The workers that run now."""
        return sorted(process.pid for process in self._processes)

    async def glance(self, image: AsyncIterable[Buffer], size_bytes: int) -> Glance:
        """Say what an image shows. `image` yields its `size_bytes` verified bytes, once.

        Raises:
            ImageRefusedError: it is not decoded, for what it is.
            ImageWorkerCrashedError: it broke a worker, and would again.
            ImageWorkerLostError, ImageWorkersBusyError: a later request can succeed.
            StoreClosedError: `close` was called.
            ValueError: `image` yields more or fewer bytes.
        """
        answer, _ = await self._ask(Question(size_bytes=size_bytes), image)
        if not isinstance(answer, Glance):
            raise ImageWorkerCrashedError("an image worker answered something else")
        return answer

    async def variant(
        self, image: AsyncIterable[Buffer], size_bytes: int, spec: VariantSpec
    ) -> Variant:
        """Make an image of an image: its first frame, upright, scaled down into a box.

        It is in sRGB and has no metadata. The same bytes and spec make the same variant, as long
        as Pillow stays the same.

        Raises:
            the same errors as `glance`.
        """
        answer, data = await self._ask(Question(size_bytes=size_bytes, spec=spec), image)
        if not isinstance(answer, VariantHead):
            raise ImageWorkerCrashedError("an image worker answered something else")
        return Variant(
            media_type=answer.media_type, width=answer.width, height=answer.height, data=data
        )

    async def close(self) -> None:
        """End every worker, and the requests they have; return when all is gone. May be called twice."""
        self._closed = True
        for scope in self._scopes:
            if not scope.expired():
                scope.reschedule(0)
        for process in self._processes:  # also one that is starting
            process.kill()
        for _ in range(self._config.workers):  # behind everybody who waits
            await self._turns.acquire()
        for _ in range(self._config.workers):
            self._turns.release()
        for process in list(self._processes):
            await self._end(process)
        self._idle.clear()

    async def _ask(self, question: Question, image: AsyncIterable[Buffer]) -> tuple[Answer, bytes]:
        if question.size_bytes > self._config.max_source_bytes:
            over = f"the image has over {self._config.max_source_bytes} bytes"
            raise ImageRefusedError(ImageRefusal.TOO_LARGE, over)
        async with self._turn():
            process = await self._take()
            try:
                answer, data = await self._within_time(process, question, image)
            except BaseException as error:
                await self._fail(process, error)
                raise
            await self._give_back(process)
        if isinstance(answer, Refused):
            raise ImageRefusedError(answer.refusal, answer.message)
        return answer, data

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._closed:
            raise StoreClosedError
        if self._turns.locked() and self._waiting >= self._config.max_waiting:
            raise ImageWorkersBusyError(self._config.max_waiting)
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        try:
            if self._closed:
                raise StoreClosedError
            yield
        finally:
            self._turns.release()

    async def _within_time(
        self, process: WorkerProcess, question: Question, image: AsyncIterable[Buffer]
    ) -> tuple[Answer, bytes]:
        scope = asyncio.timeout(self._config.timeout_seconds)
        try:
            async with scope:
                self._scopes.add(scope)
                return await process.ask(question, image)
        except TimeoutError as error:
            if not scope.expired():
                raise
            limit = self._config.timeout_seconds
            raise ImageWorkerLostError(f"an image took over {limit:g} s") from error
        finally:
            self._scopes.discard(scope)

    async def _take(self) -> WorkerProcess:
        """Return a worker that waits, or a new one."""
        while self._idle:
            process = self._idle.pop()
            if process.is_alive:
                return process
            await self._end(process)
        process = await WorkerProcess.spawn(self._config)
        self._processes.add(process)
        try:
            if self._closed:
                raise StoreClosedError
            await process.ready()
        except BaseException as error:
            await self._fail(process, error)
            raise
        return process

    async def _give_back(self, process: WorkerProcess) -> None:
        if self._closed or process.answered >= self._config.max_requests:
            await self._end(process)
        else:
            self._idle.append(process)

    async def _fail(self, process: WorkerProcess, error: BaseException) -> None:
        """End a worker after an error, which is the closing's own once these are closed."""
        await self._end(process)
        if self._closed and isinstance(error, StoreError):
            raise StoreClosedError from error

    async def _end(self, process: WorkerProcess) -> None:
        await process.end()
        self._processes.discard(process)
