"""One worker, seen from the server: started, asked, and ended for good when anything goes wrong."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterable
from typing import Self

from pydantic import ValidationError

from coatcheck.protocol import Buffer

from ..errors import ImageWorkerCrashedError, ImageWorkerLostError, StoreError
from .config import ImageWorkerConfig
from .wire import (
    ANSWER,
    LENGTH,
    MAX_MESSAGE_BYTES,
    Answer,
    Question,
    Ready,
    VariantHead,
    WorkerLimits,
    write_message,
)

_WRITE_BYTES = 256 * 1024  # what is handed to the pipe at once, and copied if it is full
# Signals that come from elsewhere; every other one is the decoder's own doing.
_SENT = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})


class WorkerProcess:
    """Answers one question at a time. Whoever started it ends it."""

    def __init__(self, process: asyncio.subprocess.Process, config: ImageWorkerConfig) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._input = process.stdin
        self._output = process.stdout
        self._config = config
        self.answered = 0
        """How many questions so far."""

    @classmethod
    async def spawn(cls, config: ImageWorkerConfig) -> Self:
        """Start the process. It serves once `ready` has returned.

        It gets no descriptor, no variable and no session of this process's.

        Raises:
            ImageWorkerLostError: the system refuses.
        """
        limits = WorkerLimits(
            parent_pid=os.getpid(),
            memory_bytes=config.memory_bytes,
            cpu_seconds=config.cpu_seconds,
            budgets=config.budgets,
        )
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-s", "-m", f"{__package__}.child"),
                limits.model_dump_json(),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={"PYTHONPATH": os.pathsep.join(map(os.path.abspath, filter(None, sys.path)))},
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise ImageWorkerLostError(f"an image worker cannot start: {error}") from error
        return cls(process, config)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked, as far as is known."""
        return self._process.returncode is None and not self._output.at_eof()

    async def ready(self) -> None:
        """Return when it can be asked, at most `start_seconds` later.

        Raises:
            ImageWorkerLostError: it does not come up.
        """
        try:
            async with asyncio.timeout(self._config.start_seconds):
                answer = await self._read_answer()
        except (TimeoutError, StoreError) as error:
            raise ImageWorkerLostError("an image worker does not start") from error
        if not isinstance(answer, Ready):
            raise ImageWorkerLostError("an image worker does not start as it should")

    async def ask(self, question: Question, image: AsyncIterable[Buffer]) -> tuple[Answer, bytes]:
        """Send a question and its image; return the answer, and the bytes that follow it.

        After any error, and when it is cancelled, the worker has to be ended.

        Raises:
            ValueError: the image has not the bytes that the question announces.
            ImageWorkerCrashedError, ImageWorkerLostError: the worker died.
        """
        await self._write(write_message(question))
        left = question.size_bytes
        async for piece in image:
            left -= len(piece)
            if left < 0:
                break
            view = memoryview(piece)
            for at in range(0, len(view), _WRITE_BYTES):
                await self._write(view[at : at + _WRITE_BYTES])
        if left:
            raise ValueError(f"the image has not the {question.size_bytes} bytes announced")
        answer = await self._read_answer()
        data = b""
        if isinstance(answer, VariantHead):
            if answer.size_bytes > self._config.max_variant_bytes:
                raise ImageWorkerCrashedError("an image worker made more than was asked for")
            data = await self._read(answer.size_bytes)
        self.answered += 1
        return answer, data

    def kill(self) -> None:
        """End it at once. May be called twice."""
        # Not by `Process.kill`, which first reaps a process that has just died, so that asyncio
        # does not learn what it died of.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)

    async def end(self) -> None:
        """Kill it, and return when the system has let go of it. May be called twice."""
        self.kill()
        self._input.close()
        while await self._output.read(1 << 16):  # so that the pipe's end is noticed
            pass
        await self._process.wait()

    async def _write(self, data: Buffer) -> None:
        try:
            self._input.write(data)
            await self._input.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise await self._death() from error

    async def _read_answer(self) -> Answer:
        (length,) = LENGTH.unpack(await self._read(LENGTH.size))
        if length > MAX_MESSAGE_BYTES:
            raise ImageWorkerCrashedError("an image worker says too much")
        try:
            return ANSWER.validate_json(await self._read(length))
        except ValidationError as error:
            raise ImageWorkerCrashedError("an image worker talks nonsense") from error

    async def _read(self, length: int) -> bytes:
        try:
            return await self._output.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionResetError) as error:
            raise await self._death() from error

    async def _death(self) -> StoreError:
        """Say what it died of, once its pipe has broken."""
        await self.end()
        code = self._process.returncode
        assert code is not None
        if code == -signal.SIGXCPU:
            limit = self._config.cpu_seconds
            return ImageWorkerCrashedError(f"the image takes over {limit} s to decode")
        if code == 0 or -code in _SENT:
            return ImageWorkerLostError("the image worker was ended while it decoded")
        return ImageWorkerCrashedError("the image crashed the worker that decoded it")
