"""A plugin as a process over standard input and output, in the way of Dify's plugin daemon.

One line of JSON for a request, lines of JSON back; the sessions of many requests share the two pipes.
The plugin is ready with its first heartbeat. A line longer than the limit ends the process, and a
process that ends, ends its sessions with `ConnectionClosedError` (dify-plugin-daemon,
internal/core/debugging_runtime/io.go; its local runtime since 0.5 lets them wait for the time limit).
"""

import asyncio
import contextlib
import os
import signal
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from bench import proc
from pydantic_core import from_json, to_json

from coatcheck.protocol import JsonObject

from .installation import Installation

MAX_LINE_BYTES = 5 * 1024 * 1024
"""The daemon's default of `PLUGIN_STDIO_MAX_BUFFER_SIZE`."""
_READY_SECONDS = 120.0


class PluginFailedError(Exception):
    """A plugin answered with an error, or is gone; what the daemon's `ErrorResponse` holds."""

    def __init__(self, error_type: str, message: str, args: JsonObject | None = None) -> None:
        super().__init__(f"{error_type}: {message}")
        self.error_type = error_type
        self.message = message
        self.details: JsonObject = args or {}


@dataclass(frozen=True, slots=True)
class Figures:
    """What the running process has used so far, and the bytes and longest lines each way."""

    cpu_seconds: float
    peak_rss_bytes: int
    bytes_to_plugin: int
    bytes_from_plugin: int
    longest_to_plugin: int
    longest_from_plugin: int


@dataclass(slots=True)
class Session:
    """One request's line and the messages that answer it."""

    name: str
    bytes_to_plugin: int = 0
    bytes_from_plugin: int = 0
    messages: asyncio.Queue[Mapping[str, Any]] = field(
        default_factory=asyncio.Queue[Mapping[str, Any]]
    )

    async def chunks(self) -> AsyncGenerator[JsonObject]:
        """Yield what the plugin says until it ends.

        Raises:
            PluginFailedError: it said an error, asked for something of Dify, or ended.
        """
        while True:
            message = await self.messages.get()
            data = message["data"]
            match message["type"]:
                case "stream":
                    yield data
                case "end":
                    return
                case "error":
                    raise PluginFailedError(data["error_type"], data["message"], data["args"])
                case other:
                    raise PluginFailedError("unknown_stream_message_type", str(other))


@dataclass(slots=True)
class _Running:
    """A process, its sessions and what went through its pipes."""

    process: asyncio.subprocess.Process
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    sessions: dict[str, Session] = field(default_factory=dict[str, Session])
    said: deque[bytes] = field(default_factory=lambda: deque[bytes](maxlen=50))
    tasks: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])
    bytes_to_plugin: int = 0
    bytes_from_plugin: int = 0
    longest_to_plugin: int = 0
    longest_from_plugin: int = 0

    async def read(self) -> None:
        """Hand each line to its session, until the pipe ends; then the process ends too."""
        assert self.process.stdout
        try:
            while line := await self.process.stdout.readline():
                self.bytes_from_plugin += len(line)
                self.longest_from_plugin = max(self.longest_from_plugin, len(line))
                self._take(line)
        except ValueError as fault:  # how asyncio says that a line is too long
            self.said.append(str(fault).encode())
        finally:
            self._kill()
            while await self.process.stdout.read(65536):
                pass  # a pipe that is full, and not read, does not show its end
            await self.process.wait()
            self.ready.set()
            for session in self.sessions.values():
                closed: JsonObject = {
                    "error_type": "ConnectionClosedError",
                    "message": "Connection closed unexpectedly",
                    "args": {},
                }
                session.messages.put_nowait({"type": "error", "data": closed})

    def _take(self, line: bytes) -> None:
        if not (text := line.strip()):
            return
        event = from_json(text)
        match event.get("event"):
            case "heartbeat":
                self.ready.set()
            case "session":
                if session := self.sessions.get(event["session_id"]):
                    session.bytes_from_plugin += len(line)
                    session.messages.put_nowait(event["data"])
            case "error" | "log":
                self.said.append(text[-2000:])
            case _:  # the manifest
                pass

    async def read_errors(self) -> None:
        """Keep the last that it writes to standard error."""
        assert self.process.stderr
        while piece := await self.process.stderr.read(65536):
            self.said.append(piece[-2000:])

    async def write(self, line: bytes) -> None:
        """Write one line."""
        assert self.process.stdin
        self.bytes_to_plugin += len(line)
        self.longest_to_plugin = max(self.longest_to_plugin, len(line))
        with contextlib.suppress(ConnectionError):  # its sessions hear of it from the reader
            self.process.stdin.write(line)
            await self.process.stdin.drain()

    async def end(self) -> None:
        """Kill it and wait until nothing of it is left. May be called twice."""
        self._kill()
        await asyncio.gather(*self.tasks)
        assert self.process.stdin
        self.process.stdin.close()
        with contextlib.suppress(ConnectionError):
            await self.process.stdin.wait_closed()

    def _kill(self) -> None:
        # `Process.kill` reaps a process that has just died before asyncio can.
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)


class PluginHost:
    """Starts a plugin when it is first asked, and again when it has died. Its owner closes it.

    `environment` is added to the little that the plugin is given: nothing of this process's own but
    PATH. Dify's daemon hands on its whole environment (internal/core/local_runtime/subprocess.go), but
    an operator may not be able to set it.
    """

    def __init__(
        self,
        installation: Installation,
        environment: Mapping[str, str] | None = None,
        max_line_bytes: int = MAX_LINE_BYTES,
    ) -> None:
        self.installation = installation
        self._environment = {
            "INSTALL_METHOD": "local",
            "PATH": os.environ.get("PATH", os.defpath),
            **(environment or {}),
        }
        self._max_line_bytes = max_line_bytes
        self._running: _Running | None = None
        self._starting = asyncio.Lock()

    @property
    def process_id(self) -> int | None:
        """Of the process that runs, if one does."""
        running = self._running
        return running.process.pid if running and running.process.returncode is None else None

    @asynccontextmanager
    async def session(
        self, action: str, data: JsonObject, about: JsonObject
    ) -> AsyncGenerator[Session]:
        """Send a request; a session that is left is forgotten, and the plugin not told.

        `data` is what the action takes; `about` is the conversation, message and app it belongs to.

        Raises:
            PluginFailedError: the plugin does not start.
        """
        running = await self.start()
        session = Session(str(uuid.uuid4()))
        running.sessions[session.name] = session
        message = {
            "session_id": session.name,
            **about,
            "event": "request",
            "data": {"type": "model", "action": action, **data},
        }
        line = to_json(message) + b"\n"
        session.bytes_to_plugin = len(line)
        try:
            await running.write(line)
            yield session
        finally:
            del running.sessions[session.name]

    async def start(self) -> _Running:
        """Return the process that runs, started and ready.

        Raises:
            PluginFailedError: it ended, or gave no heartbeat; with the last it said.
        """
        async with self._starting:
            if self._running and self.process_id is None:
                await self._running.end()
                self._running = None
            if not self._running:
                self._running = await self._spawn()
            return self._running

    async def _spawn(self) -> _Running:
        process = await asyncio.create_subprocess_exec(
            *(str(self.installation.python), "-m", "main"),
            cwd=self.installation.folder,
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=self._max_line_bytes,
        )
        running = _Running(process)
        running.tasks += [
            asyncio.create_task(task) for task in (running.read(), running.read_errors())
        ]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(running.ready.wait(), _READY_SECONDS)
        if not running.ready.is_set() or process.returncode is not None:
            await running.end()
            raise PluginFailedError(
                "not_started", b"".join(running.said).decode("utf-8", "replace")
            )
        return running

    def figures(self) -> Figures:
        """Return what the running process used. Its peak counts from its start or `forget_peak`."""
        assert self._running
        process_id = self._running.process.pid
        return Figures(
            proc.cpu_seconds(process_id),
            proc.peak_bytes(process_id),
            self._running.bytes_to_plugin,
            self._running.bytes_from_plugin,
            self._running.longest_to_plugin,
            self._running.longest_from_plugin,
        )

    def forget_peak(self) -> None:
        """Let the peak memory count from now on."""
        assert self._running
        proc.reset_peak(self._running.process.pid)

    async def kill(self) -> None:
        """Kill the process and wait for its end; the next request starts another."""
        if self._running:
            await self._running.end()

    async def close(self) -> None:
        """Leave nothing running. May be called twice."""
        async with self._starting:
            if self._running:
                await self._running.end()
            self._running = None
