"""From refs to base64: each blob of a request once, by some threads at once."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from .copies import kept
from .errors import AbsentError, HookError
from .line import Line
from .prompt import REF

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .config import Config


__all__ = ["texts"]

_AT_ONCE = 4  # connections of one request


def texts(config: Config, places: list[tuple[str, str]]) -> dict[str, str]:
    """Return the base64 of each ref.

    Raises:
        HookError: some cannot be had; all that are absent are named at once.
    """
    names = {ref: _digits(ref, where) for ref, where in places}
    fetch = _Fetch(config, deque(dict.fromkeys(names.values())), time.monotonic)
    found = fetch.run()
    lost = [(name, where) for ref, where in places if (name := names[ref]) not in found]
    if lost:
        said = ", ".join(f"sha256:{name} at {where}" for name, where in lost)
        raise AbsentError(f"blob_not_found: {said}")
    return {ref: found[name] for ref, name in names.items()}


def _digits(ref: str, where: str) -> str:
    """Return the 64 digits in a ref; its type is for others."""
    name, _, _ = ref[len(REF) :].partition("?type=")
    if not ref.startswith(REF) or len(name) != 64 or not set(name) <= set("0123456789abcdef"):
        raise HookError(f"ref_invalid: {ref[:100]!r} at {where}")
    return name


class _Fetch:
    """One request's blobs, fetched by some threads at once."""

    def __init__(self, config: Config, waiting: deque[str], clock: Callable[[], float]) -> None:
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
        with ThreadPoolExecutor(count) as pool:
            for done in [pool.submit(self._work) for _ in range(count)]:
                done.result()
        return self._found

    def _work(self) -> None:
        """Fetch what nobody else does, until nothing is left or something fails for all."""
        line = Line(self._config, self.left) if self._config.socket or self._config.daemon else None
        try:
            while self._waiting:
                try:
                    name = self._waiting.popleft()
                except IndexError:  # somebody else was faster
                    return
                text = kept(self._config, name) if self._config.cache else None
                if text is None and line is not None:
                    text = line.get(name)
                if text is not None:
                    self._found[name] = text
        except HookError:
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
