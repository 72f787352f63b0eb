"""What a daemon and its store say to each other: which blobs a tenant holds, which prompts it has.

Fields that a reader does not know are ignored in answers and refused in requests, as in `listing`.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from .descriptor import Descriptor
from .digest import Digest
from .listing import MAX_DIGESTS, DigestText
from .media_type import MediaTypeText

RESOLVE_PATH = "/v1/resolve"
PROMPT_PATH = "/v1/prompts/"
MAX_PROMPT_MESSAGES = 10_000
"""The most that one request appends: each takes a hash and a row, however short it is."""
MAX_PROMPT_BLOBS = 10_000
"""The most that the messages of one request name in all: each takes a hold."""

FileId = Annotated[str, Field(max_length=200)]


class ResolveRequest(BaseModel):
    """What of this does the tenant hold?"""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digests: tuple[DigestText, ...] = Field(default=(), max_length=MAX_DIGESTS)
    file_ids: tuple[FileId, ...] = Field(default=(), max_length=MAX_DIGESTS)
    is_use: bool = Field(default=True, description="A use renews leases.")


class ResolvedBlob(Descriptor):
    """A blob that the tenant holds: its descriptor, and what its first bytes show."""

    sniffed_type: MediaTypeText | None = None
    file_id: str | None = Field(default=None, description="The file id that named it, if one did.")


class MissingName(BaseModel):
    """Something that the tenant does not hold, by the name it was asked by."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    digest: Digest | None = None
    file_id: str | None = None


class ResolveAnswer(BaseModel):
    """Every name that was asked for, each once: in `blobs` or in `missing`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    blobs: tuple[ResolvedBlob, ...]
    missing: tuple[MissingName, ...]


class PromptStep(BaseModel):
    """One message to keep: the digest of the list that ends with it, its JSON text in ref form."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: Digest
    text: str
    blobs: tuple[Digest, ...] = Field(default=(), max_length=MAX_DIGESTS)


class PromptAppend(BaseModel):
    """Messages that continue `parent`, in order; the last one's digest is the path's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dialect: str = Field(min_length=1, max_length=100)
    parent: Digest
    messages: tuple[PromptStep, ...] = Field(
        min_length=1,
        max_length=MAX_PROMPT_MESSAGES,
        description=f"They name at most {MAX_PROMPT_BLOBS} blobs in all.",
    )

    @field_validator("messages")
    @classmethod
    def _bound_blobs(cls, messages: tuple[PromptStep, ...]) -> tuple[PromptStep, ...]:
        if sum(len(step.blobs) for step in messages) > MAX_PROMPT_BLOBS:
            raise PydanticCustomError(
                "too_many_blobs",
                "the messages name more than {most} blobs",
                {"most": MAX_PROMPT_BLOBS},
            )
        return messages


class PromptAnswer(BaseModel):
    """A kept list: the JSON text of each message, oldest first."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    dialect: str
    messages: tuple[str, ...]


def prompt_appends(
    dialect: str, parent: Digest, steps: Iterable[PromptStep]
) -> Iterator[PromptAppend]:
    """Return requests that append messages one after another, each as large as one may be."""
    taken: list[PromptStep] = []
    blobs = 0
    for step in steps:
        blobs += len(step.blobs)
        if len(taken) == MAX_PROMPT_MESSAGES or blobs > MAX_PROMPT_BLOBS:
            yield PromptAppend(dialect=dialect, parent=parent, messages=tuple(taken))
            parent, taken, blobs = taken[-1].digest, [], len(step.blobs)
        taken.append(step)
    if taken:
        yield PromptAppend(dialect=dialect, parent=parent, messages=tuple(taken))
