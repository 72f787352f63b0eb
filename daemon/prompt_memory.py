"""Prompts that passed lately, so that a conversation goes on without asking the store for it.

Like other answers of the store they are believed for a while, and longer while it is away. What is
kept is bounded by its text; what passed longest ago goes first. Belongs to the event loop.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from coatcheck.protocol import Digest, prompt_root

from .remembered import FRESH_SECONDS
from .source import KeptMessage

MAX_BYTES = 64 * 1024 * 1024
_ENTRY_BYTES = 400  # what an entry takes beside its text


@dataclass(frozen=True, slots=True)
class _Key:
    tenant: str
    dialect: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class _Part:
    """The end of a list, and what it continues; no parent: it is the whole list."""

    parent: Digest | None
    texts: tuple[str, ...]
    read_at: float

    @property
    def bytes(self) -> int:
        return _ENTRY_BYTES + sum(map(len, self.texts))


class PromptMemory:
    """Texts by tenant, dialect and prompt digest."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._parts: OrderedDict[_Key, _Part] = OrderedDict()

    def get(
        self,
        tenant: str,
        dialect: str,
        digest: Digest,
        now: float,
        *,
        max_age_seconds: float = FRESH_SECONDS,
    ) -> list[str] | None:
        """Return the JSON texts of a list, oldest first, if all are here and the last is young."""
        key = _Key(tenant, dialect, digest)
        last = self._parts.get(key)
        if last is None or not 0 <= now - last.read_at <= max_age_seconds:
            return None
        root = prompt_root(dialect)
        texts: list[str] = []
        at: Digest | None = digest
        while at is not None and at != root:
            key = replace(key, digest=at)
            part = self._parts.get(key)
            if part is None:
                return None
            self._parts.move_to_end(key)
            texts.extend(reversed(part.texts))
            at = part.parent
        texts.reverse()
        return texts

    def put_list(
        self, tenant: str, dialect: str, digest: Digest, texts: Sequence[str], now: float
    ) -> None:
        """Remember a whole list."""
        self._put(_Key(tenant, dialect, digest), _Part(None, tuple(texts), now))

    def put_messages(
        self,
        tenant: str,
        dialect: str,
        parent: Digest,
        messages: Sequence[KeptMessage],
        now: float,
    ) -> None:
        """Remember messages that continue `parent`."""
        for message in messages:
            self._put(_Key(tenant, dialect, message.digest), _Part(parent, (message.text,), now))
            parent = message.digest

    def _put(self, key: _Key, part: _Part) -> None:
        self._drop(key)
        self._parts[key] = part
        self._bytes += part.bytes
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._parts)))

    def _drop(self, key: _Key) -> None:
        part = self._parts.pop(key, None)
        self._bytes -= part.bytes if part else 0
