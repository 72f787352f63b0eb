"""Blobs from the daemon, by HTTP."""

from __future__ import annotations

import http.client
import io
import json
import socket
from urllib.parse import urlsplit

from .encode import encoded
from .errors import AwayError, BrokenError, HookError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .config import Config


__all__ = ["Line"]

_MAX_ERROR_BYTES = 65536
_MAX_CODE = 64


class Line:
    """A connection to the daemon, made when it is needed. It is of one thread."""

    def __init__(self, config: Config, left: Callable[[], float]) -> None:
        self._config = config
        self._left = left
        self._connection: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None

    def get(self, name: str) -> str | None:
        """Return a blob's base64; None when there is none for this key.

        Raises:
            AwayError: no answer in time, or none that is whole, twice.
            HookError: the daemon refuses.
        """
        for is_last in (False, True):
            try:
                return self._try(name)
            except BrokenError:
                self.close()
                if is_last:
                    raise
        return None

    def close(self) -> None:
        """End the connection. May be called twice."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _try(self, name: str) -> str | None:
        try:
            connection = self._connection
            if connection is None or connection.sock is None:  # the daemon ended the last one
                self.close()
                connection = self._connect()
            headers = {"Host": self._host, "Accept": "*/*"}
            if self._config.key:
                headers["Coatcheck-Key"] = self._config.key
            connection.request("GET", f"/v1/blobs/sha256:{name}", headers=headers)
            response = connection.getresponse()
            if response.status != 200:
                self._note_refusal(response)
                return None
            limit = self._config.max_blob_bytes
            return encoded(response.readinto, name, response.length, limit)
        except TimeoutError as error:
            raise AwayError(f"daemon_unavailable: {error}") from None
        except (OSError, http.client.HTTPException) as error:
            raise BrokenError(f"daemon_unavailable: {type(error).__name__}: {error}") from None

    @property
    def _host(self) -> str:
        return self._config.daemon.partition("://")[2].strip("/") or "localhost"

    def _connect(self) -> http.client.HTTPConnection:
        try:
            self._socket = self._connected()
        except (OSError, UnicodeError) as error:  # nobody listens: at once it would be no better
            raise AwayError(f"daemon_unavailable: {error}") from None
        bounded: Any = _Bounded(self._socket, self._left)
        connection = self._connection = http.client.HTTPConnection("localhost")
        connection.auto_open = 0
        connection.sock = bounded
        return connection

    def _connected(self) -> socket.socket:
        seconds = min(self._config.connect_seconds, self._left())
        if self._config.daemon:
            parts = urlsplit(self._config.daemon)
            return socket.create_connection((parts.hostname or "", parts.port or 80), seconds)
        connecting = socket.socket(socket.AF_UNIX)
        try:
            connecting.settimeout(seconds)
            connecting.connect(self._config.socket)
        except BaseException:
            connecting.close()
            raise
        return connecting

    def _note_refusal(self, response: http.client.HTTPResponse) -> None:
        """Return when it is that the blob is not there.

        Raises:
            HookError: it is something else.
        """
        body = response.read(_MAX_ERROR_BYTES)
        self.close()
        try:
            problem = json.loads(body)
        except (ValueError, RecursionError):
            problem = None
        given = problem.get("code") if isinstance(problem, dict) else None
        code = given[:_MAX_CODE] if isinstance(given, str) else ""
        if response.status == 404 and code == "blob_not_found":
            return
        if response.status >= 500 or response.status in (408, 429):
            raise AwayError(f"daemon_unavailable: it answers {response.status} {code}".rstrip())
        raise HookError(f"daemon_refused: it answers {response.status} {code}".rstrip())


class _Bounded:
    """A socket of which no call outlasts what is left of the time."""

    def __init__(self, connected: socket.socket, left: Callable[[], float]) -> None:
        self._socket = connected
        self._left = left

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(self._left())
        self._socket.sendall(data)

    def recv_into(self, buffer: memoryview) -> int:
        self._socket.settimeout(self._left())
        return self._socket.recv_into(buffer)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """Leave it to its owner: an answer is read after its connection is given up."""


class _Reader(io.RawIOBase):
    """The reading side of a connection, which stays when an answer is read."""

    def __init__(self, connected: _Bounded) -> None:
        self._connected = connected

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        return self._connected.recv_into(memoryview(buffer))
