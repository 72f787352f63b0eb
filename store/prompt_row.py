"""A kept message as its table has it, and how much it takes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from coatcheck.protocol import Digest

MESSAGE_BYTES = 1000
"""What a message takes beside its text: as it is read, waits, and in its row."""
NAME_BYTES = 200
"""What each blob takes that it names: as it is read, in its row, and in its hold."""


@dataclass(frozen=True, slots=True)
class PromptKey:
    """What names a prompt: the same digest of another tenant or dialect is another prompt."""

    tenant: str
    dialect: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """A message to keep: the digest of the list that ends with it, and its JSON text."""

    digest: Digest
    text: str
    blobs: tuple[Digest, ...] = ()
    """The blobs it names; each gets a hold as long as the message is kept."""


@dataclass(frozen=True, slots=True)
class PromptHead:
    """What appending to a prompt takes to know of it."""

    depth: int
    list_bytes: int
    expires_at: float


@dataclass(frozen=True, slots=True)
class PromptRow:
    """One kept message."""

    key: PromptKey
    parent: Digest
    depth: int
    text: str
    list_bytes: int
    blobs: tuple[Digest, ...]
    created_at: float
    expires_at: float
    end_user: str | None = None
    """Whom it was kept for; None: its sender did not say."""

    @property
    def head(self) -> PromptHead:
        """What appending to the prompt that ends with it takes."""
        return PromptHead(self.depth, self.list_bytes, self.expires_at)


@dataclass(frozen=True, slots=True)
class Expansion:
    """A prompt's messages, oldest first, and its last row."""

    texts: list[str]
    head: PromptHead


def message_bytes(text: str, blobs: Sequence[Digest]) -> int:
    """Return how many bytes a message takes at most, in memory or in the table."""
    count = len(text) if text.isascii() else len(text.encode())
    return count + MESSAGE_BYTES + NAME_BYTES * len(blobs)


def rows_behind(
    key: PromptKey,
    head: PromptHead,
    steps: Sequence[PromptMessage],
    now: float,
    end_user: str | None,
) -> list[PromptRow]:
    """Return the rows of messages behind a head, which expire with it: none outlives it."""
    rows: list[PromptRow] = []
    parent, depth, list_bytes = key.digest, head.depth, head.list_bytes
    for step in steps:
        depth += 1
        list_bytes += message_bytes(step.text, step.blobs)
        row = PromptRow(
            key=replace(key, digest=step.digest),
            parent=parent,
            depth=depth,
            text=step.text,
            list_bytes=list_bytes,
            blobs=step.blobs,
            created_at=now,
            expires_at=head.expires_at,
            end_user=end_user,
        )
        rows.append(row)
        parent = step.digest
    return rows
