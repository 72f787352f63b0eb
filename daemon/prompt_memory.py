"""Prompts that passed lately, so that a conversation goes on without asking the store for it.

Like other answers of the store they are believed for a while, and longer while it is away. Belongs to
the event loop, so no call takes longer for a longer list than copying a pointer to each message does.

1. A conversation is one list of texts, which grows; each of its prompts is a length of it. A branch
   begins as a copy of what it shares.
2. What is kept is bounded by its text; the conversation that was used longest ago goes first, whole.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from coatcheck.protocol import Digest, prompt_root

from .remembered import FRESH_SECONDS
from .source import KeptMessage, PromptKey

MAX_BYTES = 64 * 1024 * 1024
_ENTRY_BYTES = 400  # what a message takes beside its text


@dataclass(slots=True, eq=False)
class _Conversation:
    """Texts, oldest first, and the prompts that end within them."""

    texts: list[str]
    keys: list[PromptKey] = field(default_factory=list[PromptKey])
    size: int = 0


@dataclass(frozen=True, slots=True)
class _Entry:
    """A prompt: so many of a conversation's messages."""

    conversation: _Conversation
    count: int
    read_at: float


class PromptMemory:
    """Texts by tenant, dialect and prompt digest."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: dict[PromptKey, _Entry] = {}
        self._used: OrderedDict[int, _Conversation] = OrderedDict()

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
        entry = self._entries.get(PromptKey(tenant, dialect, digest))
        if entry is None or not 0 <= now - entry.read_at <= max_age_seconds:
            return None
        self._used.move_to_end(id(entry.conversation))
        return entry.conversation.texts[: entry.count]

    def put_list(
        self, tenant: str, dialect: str, digest: Digest, texts: Sequence[str], now: float
    ) -> None:
        """Remember a whole list."""
        key = PromptKey(tenant, dialect, digest)
        if not self._renew(key, now):
            self._end(key, self._begin(texts), now)
            self._shrink()

    def put_messages(
        self,
        tenant: str,
        dialect: str,
        parent: Digest,
        messages: Sequence[KeptMessage],
        now: float,
    ) -> None:
        """Remember messages that continue `parent`, if that is remembered."""
        at = PromptKey(tenant, dialect, parent)
        conversation: _Conversation | None = None
        for message in messages:
            key = PromptKey(tenant, dialect, message.digest)
            if self._renew(key, now):
                conversation = None  # it may be another one
            else:
                conversation = conversation or self._continued(at)
                if conversation is None:
                    break
                self._add(conversation, [message.text])
                self._end(key, conversation, now)
            at = key
        self._shrink()

    def _renew(self, key: PromptKey, now: float) -> bool:
        """Believe a prompt from now on anew, if it is remembered."""
        entry = self._entries.get(key)
        if entry is None:
            return False
        self._entries[key] = replace(entry, read_at=now)
        self._used.move_to_end(id(entry.conversation))
        return True

    def _continued(self, key: PromptKey) -> _Conversation | None:
        """Return a conversation that may grow behind a prompt."""
        if key.digest == prompt_root(key.dialect):
            return self._begin(())
        entry = self._entries.get(key)
        if entry is None:
            return None
        conversation = entry.conversation
        if len(conversation.texts) == entry.count:
            self._used.move_to_end(id(conversation))
            return conversation
        return self._begin(conversation.texts[: entry.count])

    def _begin(self, texts: Sequence[str]) -> _Conversation:
        conversation = _Conversation([])
        self._used[id(conversation)] = conversation
        self._add(conversation, texts)
        return conversation

    def _add(self, conversation: _Conversation, texts: Sequence[str]) -> None:
        conversation.texts += texts
        size = _size_of(texts)
        conversation.size += size
        self._bytes += size

    def _end(self, key: PromptKey, conversation: _Conversation, now: float) -> None:
        """Let a prompt end where the conversation does now."""
        self._entries[key] = _Entry(conversation, len(conversation.texts), now)
        conversation.keys.append(key)

    def _shrink(self) -> None:
        while self._bytes > self._max_bytes:
            _, conversation = self._used.popitem(last=False)
            self._bytes -= conversation.size
            for key in conversation.keys:
                entry = self._entries.get(key)
                if entry is not None and entry.conversation is conversation:
                    del self._entries[key]


def _size_of(texts: Iterable[str]) -> int:
    return sum(_ENTRY_BYTES + len(text) for text in texts)
