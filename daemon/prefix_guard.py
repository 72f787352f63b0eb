"""The prefix guard: which message broke what a conversation began with, for turns that ask.

1. An earlier request belongs to the conversation of a later one where its last message stands in that,
   behind the message that it stood behind; a message that is not met twice by chance is enough alone.
   As the very last message it tells something only if all before it is the same too.
2. Nothing can be read back from what is remembered: 8 bytes of a keyed hash of each message. It is
   bounded, this process's alone, and of turns that asked: a turn that does not is not looked at.
3. Outlines are made in a thread; what is remembered belongs to the event loop.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from coatcheck.protocol import (
    Change,
    Dialect,
    Json,
    JsonObject,
    PrefixReport,
    RefForm,
    dotted,
    encode_json,
    messages_path,
    ref_form,
)

MAX_MESSAGES = 500_000
"""Of all conversations that are remembered: some 20 MB."""
_MAX_CONVERSATIONS = 20_000
_MARK_BYTES = 8
_TELLING_BYTES = 200
KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Outline:
    """A request as it is compared: marks of its messages, and of what stands before them.

    `ends` are those by which each message would be known again as an earlier request's last one.
    """

    messages_path: str
    marks: Sequence[bytes]
    sizes: Sequence[int]
    roles: Sequence[str | None]
    ends: Sequence[tuple[bytes, ...]]
    leading: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class _Earlier:
    """A request that was seen."""

    marks: Sequence[bytes]
    leading: tuple[tuple[str, bytes], ...]


class PrefixGuard:
    """Remembers requests of one process. `key` is `KEY_BYTES` random bytes."""

    def __init__(self, key: bytes, max_messages: int = MAX_MESSAGES) -> None:
        self._key = key
        self._max_messages = max_messages
        self._messages = 0
        self._earlier: OrderedDict[bytes, _Earlier] = OrderedDict()

    def outline(
        self,
        tenant: str,
        dialect: Dialect,
        model: str,
        messages: Sequence[Json],
        leading: JsonObject,
        origins: Collection[str],
    ) -> Outline:
        """Return the outline of a request whose messages pass the walk. Some 30 us a message.

        `leading` are the values that a model reads before them, in that order (`LEADING_KEYS`). Inline bytes are hashed too, a millisecond a megabyte.
        """
        form = ref_form(dialect, messages, origins)
        scope = f"{dialect.name}\n{tenant}\0".encode()
        texts = [encode_json(message) for message in form.messages]
        marks = [self._mark(scope, b"", text) for text in texts]
        sizes = _sizes(texts, form)
        ends: list[tuple[bytes, ...]] = []
        previous = b""
        for mark, size in zip(marks, sizes, strict=True):
            pair = self._mark(scope, b"end", previous + mark)
            alone = (self._mark(scope, b"end", mark),) if size >= _TELLING_BYTES else ()
            ends.append((pair, *alone))
            previous = mark
        values: JsonObject = {"model": model, **leading}
        marked = tuple(
            (key, self._mark(scope, key.encode(), encode_json(value)))
            for key, value in values.items()
        )
        roles = [_role(message) for message in form.messages]
        return Outline(dotted(messages_path(dialect)), marks, sizes, roles, ends, marked)

    def look(self, outline: Outline) -> PrefixReport:
        """Say what became of the conversation's earlier request, and remember this one."""
        found = self._find(outline)
        report = PrefixReport("new") if found is None else _compare(outline, *found)
        self._remember(outline)
        return report

    def _find(self, outline: Outline) -> tuple[_Earlier, int] | None:
        """Return the conversation's last request, and where its last message stands now."""
        last = len(outline.marks) - 1
        for at in range(last, -1, -1):
            for end in outline.ends[at]:
                earlier = self._earlier.get(end)
                if earlier is None:
                    continue
                if at < last or list(earlier.marks) == list(outline.marks):
                    return earlier, at
        return None

    def _remember(self, outline: Outline) -> None:
        if not outline.ends:
            return
        earlier = _Earlier(outline.marks, outline.leading)
        for end in outline.ends[-1]:
            replaced = self._earlier.pop(end, None)
            self._messages += len(earlier.marks) - (len(replaced.marks) if replaced else 0)
            self._earlier[end] = earlier
        while self._messages > self._max_messages or len(self._earlier) > _MAX_CONVERSATIONS:
            _, gone = self._earlier.popitem(last=False)
            self._messages -= len(gone.marks)

    def _mark(self, scope: bytes, kind: bytes, value: bytes) -> bytes:
        text = scope + kind + b"\0" + value
        return hashlib.blake2b(text, key=self._key, digest_size=_MARK_BYTES).digest()


def _compare(outline: Outline, earlier: _Earlier, end: int) -> PrefixReport:
    """Compare a request with an earlier one whose last message stands at `end` in it."""
    if (key := _changed_key(outline.leading, earlier.leading)) is not None:
        return PrefixReport(
            "broken", 0, key, change="edited", lost_bytes=sum(outline.sizes[: end + 1])
        )
    count = _common(outline.marks, earlier.marks)
    if count == len(earlier.marks):
        return PrefixReport("kept", count)
    return PrefixReport(
        "broken",
        count,
        f"{outline.messages_path}.{count}",
        outline.roles[count],
        _change(outline.marks[count:], earlier.marks[count:]),
        sum(outline.sizes[count : end + 1]),
    )


def _changed_key(
    now: Sequence[tuple[str, bytes]], before: Sequence[tuple[str, bytes]]
) -> str | None:
    """Return the first key whose value is another one; one that came or went counts too."""
    if now == before:
        return None
    known = dict(before)
    keys = [key for key, mark in now if known.pop(key, None) != mark]
    return next(iter((*keys, *known)), None)


def _common(now: Sequence[bytes], before: Sequence[bytes]) -> int:
    pairs = enumerate(zip(now, before, strict=False))
    return next((at for at, (one, two) in pairs if one != two), min(len(now), len(before)))


def _change(now: Sequence[bytes], before: Sequence[bytes]) -> Change:
    """Say what happened where two lists begin to differ: both have a message there."""
    is_new, is_gone = now[0] not in before, before[0] not in now
    if is_new:
        return "edited" if is_gone else "inserted"
    return "removed" if is_gone else "moved"


def _sizes(texts: Sequence[bytes], form: RefForm) -> list[int]:
    """Return the length of each message as compact JSON, inline base64 included."""
    sizes = [len(text) for text in texts]
    for blob in form.inline:
        sizes[blob.message] += blob.found.length
    return sizes


def _role(message: Json) -> str | None:
    role = message.get("role") if isinstance(message, dict) else None
    return role if isinstance(role, str) else None
