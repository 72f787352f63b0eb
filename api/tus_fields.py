"""The header fields of tus 1.0.0 as values. Sans-IO.

Sources: tus resumable upload protocol 1.0.0, "Headers" of the core protocol and of the creation
extension. Numbers are decimal digits and nothing else, so that one number has one spelling.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass

from coatcheck.protocol import Digest
from coatcheck.web import declared_type, refuse

_decimal = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII).fullmatch
_key = re.compile(r"[!-+\--~]+").fullmatch  # ASCII, neither a space nor a comma


@dataclass(frozen=True, slots=True)
class Metadata:
    """What `Upload-Metadata` says, as far as it is understood here."""

    media_type: str | None
    """From `filetype`; None where it says nothing of use."""
    digest: Digest | None
    """From `digest`: what the whole will be."""


def read_offset(text: str | None) -> int:
    """Return the value of `Upload-Offset`.

    Raises:
        ProblemError: 400 `upload_offset_invalid`.
    """
    if text is None or not _decimal(text):
        raise refuse(
            400, "upload_offset_invalid", "Invalid offset", "Upload-Offset is a number of bytes"
        )
    return int(text)


def read_length(text: str | None, deferred: str | None = None) -> int | None:
    """Return the length of a new upload, from `Upload-Length` and `Upload-Defer-Length`.

    None: it is deferred.

    Raises:
        ProblemError: 400 `upload_length_invalid`; one of the two is needed, and not both.
    """
    if deferred is not None and (deferred != "1" or text is not None):
        raise _invalid_length("Upload-Defer-Length is 1, without Upload-Length")
    if deferred is not None:
        return None
    if text is None or not _decimal(text):
        raise _invalid_length("Upload-Length is a number of bytes, or Upload-Defer-Length is 1")
    return int(text)


def read_metadata(text: str | None) -> Metadata:
    """Read `Upload-Metadata`. `filename` and all that is not known here is kept, and not used.

    Raises:
        ProblemError: 400 `upload_metadata_invalid`.
        InvalidMediaTypeError: `filetype` is none; it may be empty.
        InvalidDigestError: `digest` is none.
    """
    pairs = {} if text is None else _pairs(text)
    file_type, digest = pairs.get("filetype"), pairs.get("digest")
    return Metadata(
        media_type=declared_type(_text(file_type)) if file_type else None,
        digest=Digest(_text(digest)) if digest else None,
    )


def _pairs(text: str) -> Mapping[str, bytes]:
    pairs: dict[str, bytes] = {}
    for item in text.split(","):
        key, _, value = item.strip(" ").partition(" ")
        if not _key(key) or key in pairs:
            raise _invalid_metadata("keys are unique, printable ASCII, without spaces and commas")
        try:
            pairs[key] = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise _invalid_metadata("values are base64") from error
    return pairs


def _text(value: bytes) -> str:
    try:
        return value.decode("ascii")
    except UnicodeDecodeError as error:
        raise _invalid_metadata("filetype and digest are ASCII") from error


def _invalid_length(detail: str) -> Exception:
    return refuse(400, "upload_length_invalid", "Invalid length", detail)


def _invalid_metadata(detail: str) -> Exception:
    return refuse(400, "upload_metadata_invalid", "Invalid metadata", detail)
