"""Refs become base64 inside a Dify plugin: this file, copied, and nothing else.

`coatcheck dify install-hook` copies it into the virtual environment of a plugin, where a line in a
`.pth` file calls `install`. Authors of plugins may have it by two lines in their `main.py`, after
`from dify_plugin import ...` and before `Plugin(...)`, with this file beside it:

    import plugin_hook
    plugin_hook.install("/etc/coatcheck/dify-hook.json")

or, where Coatcheck is installed, with `from coatcheck.client.dify import plugin_hook`.

What it keeps true:

1. At the start of an interpreter it imports nothing and opens nothing. It waits for the SDK's
   `PluginExecutor`, and no process fails because of it.
2. It writes to a copy of the request. What an SDK echoes of prompt messages (0.1.0 does, in each
   chunk) is taken out of the answer.
3. No byte reaches the plugin that is not what the digest names. Of a blob there is its base64 in
   memory, once however often it is named, and a piece of its bytes.
4. A request without refs is not looked at further: neither the configuration nor the daemon is.
5. All of it ends within `total_seconds`. A connection belongs to one thread, or greenlet: the SDK
   replaces threads and sockets by gevent's, so everything here blocks.

The configuration is JSON, read anew for each request that has refs:

    socket            path of the daemon's Unix socket; or
    daemon            its origin, http://host:port
    key               its key there, where there are keys; `read` is scope enough
    cache             folder of the daemon's copies, looked at before the daemon is asked, if one is
                      named. No grant is asked for there: for installations of one tenant alone
    connect_seconds   5
    total_seconds     60, for all refs of one request
    max_blob_bytes    536870912

The key's tenant must hold each blob. Whatever workspace of Dify a plugin works for, it is that tenant.
"""

from __future__ import annotations

import io
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import http.client
    import socket
    from collections import deque
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any  # of the SDK, which is not here

    _Read = Callable[[memoryview], "int | None"]

__all__ = ["CONFIG_NAME", "check_config", "install"]

CONFIG_NAME = "coatcheck_dify_hook.json"
"""What the configuration beside this file is called."""

_EXECUTOR = "dify_plugin.core.plugin_executor"
_METHODS = ("invoke_llm", "get_llm_num_tokens", "start_llm_polling", "start_polling")
_MARK = "resolves_coatcheck_refs"
_REF = "blob:sha256:"
# Of three, so that each piece's base64 ends where the next begins; and below the 128 KiB from which on
# glibc maps memory: once it has unmapped some, texts no longer grow where they lie.
_PIECE_BYTES = 3 * 8192
_AT_ONCE = 4  # connections of one request
_MAX_ERROR_BYTES = 65536


def install(config: str | os.PathLike[str] | None = None) -> None:
    """Have refs resolved from now on. May be called twice; the first call's configuration stays.

    `config` is a path; without it the file is beside this one. It need not be there yet.
    """
    path = os.fspath(config) if config else os.path.join(os.path.dirname(__file__), CONFIG_NAME)
    module = sys.modules.get(_EXECUTOR)
    if module is not None:
        _attach(module, path)
    elif not any(hasattr(finder, _MARK) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(path))


def check_config(given: Mapping[str, object]) -> None:
    """Return when that is a configuration.

    Raises:
        ValueError: it is none; the message says why, and repeats no value.
    """
    _Config(dict(given))


# Getting in -------------------------------------------------------------------------------------


class _Finder:
    """Finds one module as the others do, and sees to it that it is attached to."""

    def __init__(self, config: str) -> None:
        self._config = config
        setattr(self, _MARK, True)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None, /
    ) -> ModuleSpec | None:
        if name != _EXECUTOR:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    loader: Any = _Loader(spec.loader, self._config)
                    spec.loader = loader
                return spec
        return None


class _Loader:
    """Stands for a module's own loader, which the module has back before it runs."""

    def __init__(self, loader: Any, config: str) -> None:
        self._loader = loader
        self._config = config

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _attach(module, self._config)


def _attach(module: ModuleType, config: str) -> None:
    """Wrap what takes prompt messages, once."""
    executor = getattr(module, "PluginExecutor", None)
    found = [name for name in _METHODS if callable(getattr(executor, name, None))]
    if "invoke_llm" not in found:
        sys.stderr.write("coatcheck: no invoke_llm in this dify_plugin, so refs stay refs\n")
    for name in found:
        method = getattr(executor, name)
        if not hasattr(method, _MARK):
            setattr(executor, name, _wrapped(method, config))


def _wrapped(method: Callable[..., Any], config: str) -> Callable[..., Any]:
    """Return a method that has base64 where its request has refs. The signature stays."""
    import functools

    @functools.wraps(method)
    def call(self: Any, session: Any, data: Any) -> Any:
        places = list(_places(data))
        if not places:
            return method(self, session, data)
        try:
            texts = _texts(config, places)
        except _FailedError as error:
            raise error.as_sdks() from error
        return _unechoed(method(self, session, _filled(data, texts)))

    setattr(call, _MARK, True)
    return call


# What is in a request ---------------------------------------------------------------------------


def _ref(part: Any) -> str | None:
    """Return the ref in a part of a message, well formed or not."""
    url = getattr(part, "url", None)
    if isinstance(url, str) and url[:256].lstrip()[: len(_REF)].lower() == _REF:
        return url
    return None


def _places(data: Any) -> Iterator[tuple[str, str]]:
    """Yield each ref, and the path to it in what Dify sent."""
    for number, message in enumerate(getattr(data, "prompt_messages", None) or ()):
        if isinstance(message.content, list):
            for index, part in enumerate(message.content):
                ref = _ref(part)
                if ref is not None:
                    yield ref, f"data.prompt_messages.{number}.content.{index}.url"


def _filled(data: Any, texts: dict[str, str]) -> Any:
    """Return a copy with base64 for its refs. Messages without any are shared."""

    def part_of(part: Any) -> Any:
        ref = _ref(part)
        if ref is None:
            return part
        return part.model_copy(update={"url": "", "base64_data": texts[ref]})

    def message_of(message: Any) -> Any:
        if not isinstance(message.content, list) or all(_ref(p) is None for p in message.content):
            return message
        return message.model_copy(update={"content": [part_of(part) for part in message.content]})

    messages = [message_of(message) for message in data.prompt_messages]
    return data.model_copy(update={"prompt_messages": messages})


def _unechoed(answer: Any) -> Any:
    """Return an answer that repeats no prompt message; a stream stays a stream."""
    if hasattr(answer, "send"):
        return _unechoed_stream(answer)
    if getattr(answer, "prompt_messages", None):
        return answer.model_copy(update={"prompt_messages": []})
    return answer


def _unechoed_stream(chunks: Generator[Any, None, Any]) -> Generator[Any, None, None]:
    try:
        for chunk in chunks:
            yield _unechoed(chunk)
    finally:
        chunks.close()


# What goes wrong --------------------------------------------------------------------------------


class _FailedError(Exception):
    """A request cannot be resolved. Its text begins with a code, and never has a key in it."""

    is_away = False

    def as_sdks(self) -> Exception:
        """Return the SDK's error, whose name Dify's API knows."""
        import importlib

        known: Any = importlib.import_module("dify_plugin.errors.model")
        kind = known.InvokeConnectionError if self.is_away else known.InvokeBadRequestError
        error: Exception = kind(f"coatcheck: {self}")
        return error


class _AwayError(_FailedError):
    """The daemon, or the store behind it, does not answer: trying again may help."""

    is_away = True


class _BrokenError(_AwayError):
    """A connection broke, or brought other bytes: one more try is worth it."""


class _AbsentError(_FailedError):
    """There is no such blob for this key."""


# The configuration ------------------------------------------------------------------------------


class _Config:
    """Where bytes come from."""

    def __init__(self, given: dict[str, Any]) -> None:
        """Check what was given.

        Raises:
            ValueError: it is not as the module says; no value is repeated.
        """
        self.socket = _taken(given, "socket", str, "", os.path.isabs)
        self.daemon = _taken(given, "daemon", str, "", _is_origin)
        self.cache = _taken(given, "cache", str, "", os.path.isabs)
        self.key = _taken(given, "key", str, "", _is_key)
        self.connect_seconds = float(_taken(given, "connect_seconds", (int, float), 5, _is_more))
        self.total_seconds = float(_taken(given, "total_seconds", (int, float), 60, _is_more))
        self.max_blob_bytes = int(_taken(given, "max_blob_bytes", int, 1 << 29, _is_more))
        if given:
            raise ValueError(f"{min(given)!r} is no name of the configuration")
        if self.socket and self.daemon:
            raise ValueError("either socket or daemon, not both")
        if not (self.socket or self.daemon or self.cache):
            raise ValueError("one of socket, daemon and cache has to be there")


def _taken(
    given: dict[str, Any], name: str, kind: Any, default: Any, is_right: Callable[[Any], bool]
) -> Any:
    value = given.pop(name, None)
    if value is None:
        return default
    if not isinstance(value, kind) or isinstance(value, bool) or not is_right(value):
        raise ValueError(f"{name} is not what it has to be")
    return value


def _is_more(value: float) -> bool:
    return value > 0


def _is_key(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text and text != ""


def _is_origin(text: str) -> bool:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        return (
            parts.scheme == "http"
            and bool(parts.hostname)
            and parts.port != 0
            and not (parts.path.strip("/") or parts.query or parts.fragment or parts.username)
        )
    except ValueError:
        return False


def _read_config(path: str) -> _Config:
    import json

    try:
        with open(path, encoding="utf-8") as file:
            given = json.load(file)
        if not isinstance(given, dict):
            raise _FailedError(f"hook_config_invalid: {path}: it is no JSON object")
        return _Config(given)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _FailedError(f"hook_config_invalid: {path}: {reason}") from None


# From refs to base64 ----------------------------------------------------------------------------


def _texts(path: str, places: list[tuple[str, str]]) -> dict[str, str]:
    """Return the base64 of each ref.

    Raises:
        _FailedError: some cannot be had; all that are absent are named at once.
    """
    import time
    from collections import deque

    names = {ref: _digits(ref, where) for ref, where in places}
    fetch = _Fetch(_read_config(path), deque(dict.fromkeys(names.values())), time.monotonic)
    found = fetch.run()
    lost = [(name, where) for ref, where in places if (name := names[ref]) not in found]
    if lost:
        said = ", ".join(f"sha256:{name} at {where}" for name, where in lost)
        raise _AbsentError(f"blob_not_found: {said}")
    return {ref: found[name] for ref, name in names.items()}


def _digits(ref: str, where: str) -> str:
    """Return the 64 digits in a ref; its type is for others."""
    name, _, _ = ref[len(_REF) :].partition("?type=")
    if not ref.startswith(_REF) or len(name) != 64 or not set(name) <= set("0123456789abcdef"):
        raise _FailedError(f"ref_invalid: {ref[:100]!r} at {where}")
    return name


class _Fetch:
    """One request's blobs, fetched by some threads at once."""

    def __init__(self, config: _Config, waiting: deque[str], clock: Callable[[], float]) -> None:
        self._config = config
        self._waiting = waiting
        self._clock = clock
        self._until = clock() + config.total_seconds
        self._found: dict[str, str] = {}

    def run(self) -> dict[str, str]:
        """Return base64 by digits; what is absent is left out."""
        count = min(_AT_ONCE, len(self._waiting))
        if count == 1:
            self._work()
            return self._found
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(count) as pool:
            for done in [pool.submit(self._work) for _ in range(count)]:
                done.result()
        return self._found

    def _work(self) -> None:
        """Fetch what nobody else does, until nothing is left or something fails for all."""
        line = (
            _Line(self._config, self.left) if self._config.socket or self._config.daemon else None
        )
        try:
            while self._waiting:
                try:
                    name = self._waiting.popleft()
                except IndexError:  # somebody else was faster
                    return
                text = _kept(self._config, name) if self._config.cache else None
                if text is None and line is not None:
                    text = line.get(name)
                if text is not None:
                    self._found[name] = text
        except _FailedError:
            self._waiting.clear()
            raise
        finally:
            if line is not None:
                line.close()

    def left(self) -> float:
        """Return how many seconds there are still.

        Raises:
            TimeoutError: none.
        """
        left = self._until - self._clock()
        if left <= 0:
            raise TimeoutError(f"nothing whole after {self._config.total_seconds:g} s")
        return left


def _encoded(read: _Read, name: str, size: int | None, limit: int) -> str:
    """Return the base64 of what `read` fills buffers with, which is verified.

    Raises:
        _BrokenError: these are not the bytes that the digest names.
        _FailedError: there are more than the limit.
    """
    from binascii import b2a_base64
    from hashlib import sha256

    if (size or 0) > limit:
        raise _FailedError(f"blob_too_large: sha256:{name} has {size} bytes, over {limit}")
    piece = memoryview(bytearray(_PIECE_BYTES if size is None else min(_PIECE_BYTES, size + 1)))
    hasher, total, text = sha256(), 0, ""
    while (count := _fill(piece, read)) > 0:
        total += count
        if total > limit:
            raise _FailedError(f"blob_too_large: sha256:{name} has over {limit} bytes")
        hasher.update(piece[:count])
        # CPython makes the text longer where it lies, so there is never a second one.
        text += b2a_base64(piece[:count], newline=False).decode("ascii")
        if count < len(piece):
            break
    if size not in (None, total):
        raise _BrokenError(f"daemon_unavailable: {total} of {size} bytes of sha256:{name} came")
    if hasher.hexdigest() != name:
        raise _BrokenError(f"digest_mismatch: other bytes came for sha256:{name}")
    return text


def _fill(piece: memoryview, read: _Read) -> int:
    """Fill a piece, and return how far: less than all of it only at the end."""
    count = 0
    while count < len(piece):
        more = read(piece[count:])
        if not more:
            break
        count += more
    return count


# By path ----------------------------------------------------------------------------------------


def _kept(config: _Config, name: str) -> str | None:
    """Return the base64 of a copy in the daemon's folder; None when there is no whole one.

    Raises:
        _FailedError: the folder cannot be read, or the copy is too large.
    """
    import errno
    import fcntl
    import stat

    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(os.path.join(config.cache, "blobs", name), flags)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return None
        raise _FailedError(f"hook_cache_unreadable: {error.strerror}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        return None
    with open(descriptor, "rb", buffering=0) as file:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # the daemon keeps what is read
            return _encoded(file.readinto, name, status.st_size, config.max_blob_bytes)
        except (BlockingIOError, _BrokenError):  # it is being removed, or is damaged
            return None


# By HTTP ----------------------------------------------------------------------------------------


class _Line:
    """A connection to the daemon, made when it is needed. It is of one thread."""

    def __init__(self, config: _Config, left: Callable[[], float]) -> None:
        self._config = config
        self._left = left
        self._connection: http.client.HTTPConnection | None = None
        self._socket: socket.socket | None = None

    def get(self, name: str) -> str | None:
        """Return a blob's base64; None when there is none for this key.

        Raises:
            _AwayError: no answer in time, or none that is whole, twice.
            _FailedError: the daemon refuses.
        """
        for is_last in (False, True):
            try:
                return self._try(name)
            except _BrokenError:
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
        import http.client

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
            return _encoded(response.readinto, name, response.length, limit)
        except TimeoutError as error:
            raise _AwayError(f"daemon_unavailable: {error}") from None
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenError(f"daemon_unavailable: {type(error).__name__}: {error}") from None

    @property
    def _host(self) -> str:
        return self._config.daemon.partition("://")[2].strip("/") or "localhost"

    def _connect(self) -> http.client.HTTPConnection:
        import http.client

        try:
            self._socket = self._connected()
        except OSError as error:  # such as nobody listening: the same at once would be no better
            raise _AwayError(f"daemon_unavailable: {error}") from None
        bounded: Any = _Bounded(self._socket, self._left)
        connection = self._connection = http.client.HTTPConnection("localhost")
        connection.auto_open = 0
        connection.sock = bounded
        return connection

    def _connected(self) -> socket.socket:
        import socket
        from urllib.parse import urlsplit

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
            _FailedError: it is something else.
        """
        import json

        body = response.read(_MAX_ERROR_BYTES)
        self.close()
        try:
            problem = json.loads(body)
        except ValueError:
            problem = None
        code = problem.get("code") if isinstance(problem, dict) else None
        if response.status == 404 and code == "blob_not_found":
            return
        if response.status >= 500 or response.status in (408, 429):
            raise _AwayError(
                f"daemon_unavailable: it answers {response.status} {code or ''}".rstrip()
            )
        raise _FailedError(f"daemon_refused: it answers {response.status} {code or ''}".rstrip())


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
