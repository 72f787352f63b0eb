"""Descriptors: what is known of a blob, as it travels."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from .digest import Digest
from .media_type import MediaTypeText
from .pointer import Pointer
from .ref import Ref


class Descriptor(BaseModel):
    """Answer to an upload and to a stat; absent fields are left out of the JSON.

    `media_type` is the tenant's declared type where it declared one. `width`, `height` and
    `frames` are there for images whose header says them; a still has one frame.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    digest: Digest
    ref: str = Field(description="The URI to put into a prompt in place of the bytes.")
    size: int = Field(ge=0, description="Bytes.")
    media_type: MediaTypeText
    width: int | None = Field(default=None, description="Pixels.")
    height: int | None = Field(default=None, description="Pixels.")
    frames: int | None = None

    @classmethod
    def of(
        cls,
        *,
        digest: Digest,
        size: int,
        media_type: str,
        width: int | None = None,
        height: int | None = None,
        frames: int | None = None,
    ) -> Self:
        """Describe a blob; `ref` follows from the digest."""
        return cls(
            digest=digest,
            ref=str(Ref(digest)),
            size=size,
            media_type=media_type,
            width=width,
            height=height,
            frames=frames,
        )

    @property
    def pointer(self) -> str:
        """The blob's pointer file, for clients that insist on inline data."""
        return str(Pointer(self.digest, self.size))
