"""Media types as they are compared: lower case, without parameters."""

import re
from typing import Annotated

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from .errors import InvalidMediaTypeError

OCTET_STREAM = "application/octet-stream"

_TOKEN = r"[!#$%&'*+.^_`|~0-9a-z-]{1,127}"  # RFC 9110 section 5.6.2, lower-cased
_matches = re.compile(f"{_TOKEN}/{_TOKEN}").fullmatch


def parse_media_type(text: str) -> str:
    """Return `type/subtype` of a media type, lower-cased, its parameters dropped.

    Raises:
        InvalidMediaTypeError: it is not two tokens around one slash (RFC 9110 section 8.3.1).
    """
    essence = text.partition(";")[0].strip(" \t").lower()
    if not _matches(essence):
        raise InvalidMediaTypeError(f"not a media type: {text[:80]!r}")
    return essence


def _parsed(text: str) -> str:
    try:
        return parse_media_type(text)
    except InvalidMediaTypeError as error:
        raise PydanticCustomError("media_type", "not a media type") from error


MediaTypeText = Annotated[str, AfterValidator(_parsed)]
"""A media type in a model: it goes into headers and URLs, so it is what it says or is refused."""
