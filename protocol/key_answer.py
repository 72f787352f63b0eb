"""What travels about a key between a daemon and its store. Times are Unix seconds."""

from pydantic import BaseModel, ConfigDict, Field

from .key import Scope

KEYS_VERIFY_PATH = "/v1/keys/verify"
_MAX_KEY = 256  # several times a key's length


class KeyQuestion(BaseModel):
    """Whose key is this?"""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str = Field(max_length=_MAX_KEY, repr=False)


class KeyAnswer(BaseModel):
    """A key that is valid now. A `tenant` of null: a daemon's, which asks for any tenant."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    tenant: str | None
    scopes: tuple[Scope, ...]
    expires_at: int | None
