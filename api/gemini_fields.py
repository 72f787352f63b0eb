"""The header fields of Google's upload protocol as values. Sans-IO.

Numbers are decimal digits and nothing else, so that one number has one spelling.

Source: the `google-genai` package, version 3: _extra_utils.py, _api_client.py.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from coatcheck.protocol import UPLOAD_COMMAND as COMMAND
from coatcheck.protocol import is_start
from coatcheck.web import ProblemError, refuse

PROTOCOL: Final = "X-Goog-Upload-Protocol"
OFFSET: Final = "X-Goog-Upload-Offset"
LENGTH: Final = "X-Goog-Upload-Header-Content-Length"
TYPE: Final = "X-Goog-Upload-Header-Content-Type"
FILE_NAME: Final = "X-Goog-Upload-File-Name"
URL: Final = "X-Goog-Upload-URL"
CONTROL_URL: Final = "X-Goog-Upload-Control-URL"

RESUMABLE: Final = "resumable"
MULTIPART: Final = "multipart"
RAW: Final = "raw"
_PROTOCOLS = (RESUMABLE, MULTIPART, RAW)
_BY_TYPE: Mapping[str, str] = MappingProxyType({"multipart": MULTIPART, "media": RAW})
_decimal = re.compile(r"0|[1-9][0-9]{0,17}", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class Command:
    """What a request wants of an upload that has begun; exactly one of these, or both of the first."""

    uploads: bool = False
    """Bytes come with it."""
    finalizes: bool = False
    """The upload is whole with it."""
    queries: bool = False
    cancels: bool = False


_COMMANDS: Mapping[frozenset[str], Command] = MappingProxyType(
    {
        frozenset({"upload"}): Command(uploads=True),
        frozenset({"upload", "finalize"}): Command(uploads=True, finalizes=True),
        frozenset({"finalize"}): Command(finalizes=True),
        frozenset({"query"}): Command(queries=True),
        frozenset({"cancel"}): Command(cancels=True),
    }
)


def read_command(headers: Mapping[str, str]) -> Command:
    """Return what is to be done with an upload that has begun.

    Raises:
        ProblemError: 400 `upload_command_invalid`.
    """
    words = [word.strip().lower() for word in headers.get(COMMAND, "").split(",")]
    command = _COMMANDS.get(frozenset(words))
    if command is None or len(words) != len(set(words)):
        raise invalid_command("upload; upload, finalize; finalize; query; or cancel")
    return command


def read_protocol(headers: Mapping[str, str], upload_type: str | None) -> str:
    """Return how an upload that begins is to come: `resumable`, `multipart` or `raw`.

    `upload_type` is the query's `uploadType`, by which older clients say so.

    Raises:
        ProblemError: 400 `upload_protocol_unsupported`, or `upload_command_invalid` where a resumable
            one does not begin.
    """
    protocol = headers.get(PROTOCOL, "").strip().lower() or _BY_TYPE.get(upload_type or "", "")
    if protocol not in _PROTOCOLS:
        raise refuse(
            400,
            "upload_protocol_unsupported",
            "Unsupported upload protocol",
            f"{PROTOCOL} is one of {', '.join(_PROTOCOLS)}",
        )
    if protocol == RESUMABLE and not is_start(headers):
        raise invalid_command("start, or names an upload by the URL that its start answered")
    return protocol


def read_offset(headers: Mapping[str, str]) -> int:
    """Return where bytes belong.

    Raises:
        ProblemError: 400 `upload_offset_invalid`.
    """
    text = headers.get(OFFSET)
    if text is None or not _decimal(text):
        raise refuse(
            400, "upload_offset_invalid", "Invalid offset", f"{OFFSET} is a number of bytes"
        )
    return int(text)


def read_length(headers: Mapping[str, str]) -> int | None:
    """Return how long an upload will be; None where nobody says.

    Raises:
        ProblemError: 400 `upload_length_invalid`.
    """
    text = headers.get(LENGTH)
    if text is None:
        return None
    if not _decimal(text):
        raise refuse(
            400, "upload_length_invalid", "Invalid length", f"{LENGTH} is a number of bytes"
        )
    return int(text)


def invalid_command(what: str) -> ProblemError:
    """Return the error for a command that is none here."""
    return refuse(400, "upload_command_invalid", "Invalid command", f"{COMMAND} is {what}")
