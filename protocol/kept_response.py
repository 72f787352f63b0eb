"""What the response of an upstream is called, and which kept list it ended.

A daemon tells its store, so that every daemon of that store knows the id. Fields that a reader does
not know are ignored in answers and refused in requests, as in `resolving`.
"""

import re

from pydantic import BaseModel, ConfigDict, Field

from .digest import Digest

KEPT_RESPONSE_PATH = "/v1/prompts/responses/"
MAX_RESPONSE_ID = 512
"""Characters. OpenAI's have some 55; those of gateways in front of several providers some 300."""

# It stands in paths, so it is none of their dot segments.
_is_id = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_.:=+~-]{1,512}").fullmatch


class ResponseName(BaseModel):
    """The kept list that a response ended: its last messages are the answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dialect: str = Field(min_length=1, max_length=100)
    prompt: Digest
    answered: int = Field(ge=0, description="How many of its last messages are the answer's.")
    upstream: str = Field(
        max_length=200, description="Whose answer it was, by the name in the daemon's settings."
    )


class ResponseAnswer(ResponseName):
    """What an id names."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def is_response_id(text: str) -> bool:
    """Whether a response of this id is kept: what else upstreams may call theirs names none."""
    return _is_id(text) is not None
