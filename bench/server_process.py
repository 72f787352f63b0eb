"""A server under measurement: a child process, its address, its CPU time and its memory.

`proc.py` says how figures are taken; the children's are added.
"""

import re
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from . import proc

_START_SECONDS = 15.0
_STOP_SECONDS = 15.0
_IDLE_DEADLINE_SECONDS = 2.0
_IDLE_POLL_SECONDS = 0.05
_IDLE_CPU_SECONDS = 0.001


class ServerStartError(Exception):
    """A child ended before it said where it listens; not worth a second try."""


@dataclass(frozen=True, slots=True)
class PeakMemory:
    """The resident set in bytes: before, and at its highest since."""

    idle_bytes: int
    peak_bytes: int

    @property
    def added_bytes(self) -> int:
        """How far the peak rose over idle."""
        return self.peak_bytes - self.idle_bytes


class ServerProcess:
    """Starts a server when entered, and ends it when left."""

    def __init__(
        self, command: Sequence[str], *, cwd: Path, log: Path, port: int | None = None
    ) -> None:
        """Describe the child; its first line of output must hold `http://HOST:PORT`.

        A child that says nothing is given the `port` that it listens on, on this host.
        What it says on standard error goes to the end of `log`.
        """
        self._command = tuple(command)
        self._cwd = cwd
        self._log = log
        self._port = port

    def __enter__(self) -> Self:
        """Start the child and read its address, or wait until it listens.

        Raises:
            ServerStartError: it ended before that.
        """
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command, cwd=self._cwd, stdout=subprocess.PIPE, stderr=log
            )
        self.port = self._said_port() if self._port is None else self._listening(self._port)
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ask the child to end, wait, and kill it when it does not."""
        self._stop()

    def _said_port(self) -> int:
        assert self._child.stdout is not None
        line = self._child.stdout.readline().decode()
        address = re.search(r"http://[^\s:]+:(\d+)", line)
        if address is None:
            raise self._failed(line)
        return int(address[1])

    def _listening(self, port: int) -> int:
        deadline = time.monotonic() + _START_SECONDS
        while self._child.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except ConnectionRefusedError:
                time.sleep(_IDLE_POLL_SECONDS)
            else:
                return port
        raise self._failed("it does not listen\n")

    def _failed(self, line: str) -> ServerStartError:
        self._stop()
        said = self._log.read_text(errors="replace")[-1000:]
        return ServerStartError(f"{' '.join(self._command)}: {line}{said}")

    def _stop(self) -> None:
        self._child.terminate()
        try:
            self._child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()

    def kill(self) -> None:
        """End the child as `kill -9` does, and wait. May be called twice."""
        self._child.kill()
        self._child.wait()

    @property
    def pid(self) -> int:
        """The child."""
        return self._child.pid

    def cpu_seconds(self) -> float:
        """CPU time that the process and its children have used since they started."""
        return sum(map(proc.cpu_seconds, self._pids()))

    def wait_until_idle(self) -> None:
        """Wait until the process has stopped working, for two seconds at most."""
        deadline = time.monotonic() + _IDLE_DEADLINE_SECONDS
        before = -1.0
        while (now := self.cpu_seconds()) - before > _IDLE_CPU_SECONDS:
            if time.monotonic() > deadline:
                return
            before = now
            time.sleep(_IDLE_POLL_SECONDS)

    def reset_peak(self) -> int:
        """Let the peak of memory start again from the present; return that, in bytes."""
        for pid in self._pids():
            proc.reset_peak(pid)
        return sum(map(proc.resident_bytes, self._pids()))

    def peak_since(self, idle_bytes: int) -> PeakMemory:
        """The peak since `reset_peak` returned `idle_bytes`."""
        peak = sum(map(proc.peak_bytes, self._pids()))
        return PeakMemory(idle_bytes=idle_bytes, peak_bytes=peak)

    def _pids(self) -> list[int]:
        process = psutil.Process(self._child.pid)
        return [self._child.pid, *(child.pid for child in process.children(recursive=True))]
