"""What a worker is asked and what it answers, on its standard input and output.

A message is four bytes of length, then so much JSON, then the bytes that the JSON announces: the
image after a question, the variant after its answer. The server trusts a worker no more than the
image that it decodes: each answer is checked, and none is longer than `MAX_MESSAGE_BYTES`.
"""

from struct import Struct
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from coatcheck.protocol import ImageBudgets

from ..errors import ImageRefusal

MAX_MESSAGE_BYTES = 4096
LENGTH = Struct(">I")

VariantType: TypeAlias = Literal["image/jpeg", "image/png", "image/webp"]
Pixels: TypeAlias = Annotated[int, Field(gt=0, lt=2**31)]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WorkerLimits(_Message):
    """What a worker is told when it starts; see `ImageWorkerConfig`."""

    parent_pid: int
    memory_bytes: int
    cpu_seconds: int
    budgets: ImageBudgets


class VariantSpec(_Message):
    """What to make of an image: as large as fits the box, never larger than it is."""

    max_width: Pixels
    max_height: Pixels
    media_type: VariantType = "image/webp"
    quality: int = Field(default=80, ge=1, le=100, description="Of JPEG and WebP.")


class Question(_Message):
    """Look at an image of `size_bytes`; with a `spec`, make a variant of it."""

    size_bytes: int = Field(ge=0)
    spec: VariantSpec | None = None


class Glance(_Message):
    """What an image shows at a glance."""

    kind: Literal["glance"] = "glance"
    media_type: str = Field(max_length=32)
    width: Pixels
    height: Pixels
    frames: Pixels
    mean_colour: str = Field(pattern=r"^#[0-9a-f]{6}$")
    """Of the first frame, as `#rrggbb`."""


class VariantHead(_Message):
    """A variant's file follows, of `size_bytes`."""

    kind: Literal["variant"] = "variant"
    media_type: VariantType
    width: Pixels
    height: Pixels
    size_bytes: int = Field(gt=0)


class Refused(_Message):
    """The image is not decoded."""

    kind: Literal["refused"] = "refused"
    refusal: ImageRefusal
    message: str = Field(max_length=500)


class Ready(_Message):
    """The worker has started and gave up what it could."""

    kind: Literal["ready"] = "ready"


class Variant(_Message):
    """An image made of another: its first frame, upright, in sRGB, without any metadata."""

    media_type: VariantType
    width: Pixels
    height: Pixels
    data: bytes


Answer: TypeAlias = Annotated[Glance | VariantHead | Refused | Ready, Field(discriminator="kind")]
ANSWER: TypeAdapter[Answer] = TypeAdapter(Answer)


def write_message(message: BaseModel) -> bytes:
    """Return a message with its length."""
    text = message.model_dump_json().encode()
    return LENGTH.pack(len(text)) + text
