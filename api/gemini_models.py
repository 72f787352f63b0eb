"""What Gemini's Files API says in JSON.

Sizes are decimal strings, as protobuf's JSON has 64-bit integers. `sha256Hash` is the base64 of the
digest's hexadecimal text, not of its 32 bytes: that is what Google sends
(googleapis/js-genai#381, and the answers in its documents).

Source: the `google-genai` package, version 3: types.py, `File`.
"""

from base64 import b64encode
from typing import Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from coatcheck.store import StoredFile

from .timestamp import timestamp

_NAME_PREFIX = "files/"


class GeminiFile(BaseModel):
    """A file."""

    model_config = ConfigDict(frozen=True)

    name: str
    displayName: str | None = None  # noqa: N815 - the names on the wire
    mimeType: str  # noqa: N815
    sizeBytes: str  # noqa: N815
    createTime: str  # noqa: N815
    updateTime: str  # noqa: N815
    expirationTime: str | None = None  # noqa: N815
    sha256Hash: str  # noqa: N815
    uri: str
    downloadUri: str  # noqa: N815
    state: Literal["ACTIVE"] = "ACTIVE"
    source: Literal["UPLOADED"] = "UPLOADED"

    @classmethod
    def of(cls, file: StoredFile, origin: str) -> "GeminiFile":
        """Describe a file to a client that has this server at `origin`.

        The URIs are of `v1beta`: below `/v1` a request that says nothing else means OpenAI.
        """
        uri = f"{origin}/v1beta/{_NAME_PREFIX}{file.id}"
        created = timestamp(file.created_at)
        return cls(
            name=f"{_NAME_PREFIX}{file.id}",
            displayName=file.filename,
            mimeType=file.grant.media_type,
            sizeBytes=str(file.grant.size),
            createTime=created,
            updateTime=created,
            expirationTime=None if file.expires_at is None else timestamp(file.expires_at),
            sha256Hash=b64encode(file.grant.digest.hex.encode()).decode(),
            uri=uri,
            downloadUri=f"{uri}:download?alt=media",
        )


class GeminiFileAnswer(BaseModel):
    """The answer to an upload."""

    model_config = ConfigDict(frozen=True)

    file: GeminiFile


class GeminiFilePage(BaseModel):
    """A page of files; without `nextPageToken` it is the last."""

    model_config = ConfigDict(frozen=True)

    files: tuple[GeminiFile, ...]
    nextPageToken: str | None = None  # noqa: N815


class GeminiGone(BaseModel):
    """A file that is gone: `{}`."""

    model_config = ConfigDict(frozen=True)


class NewGeminiFile(BaseModel):
    """What a client says of a file before its bytes; keys in either casing, others are passed over."""

    model_config = ConfigDict(frozen=True)

    name: str | None = None
    display_name: str | None = Field(
        default=None, validation_alias=AliasChoices("displayName", "display_name"), max_length=512
    )
    mime_type: str | None = Field(
        default=None, validation_alias=AliasChoices("mimeType", "mime_type")
    )


class GeminiStart(BaseModel):
    """The body that begins an upload."""

    model_config = ConfigDict(frozen=True)

    file: NewGeminiFile | None = None
