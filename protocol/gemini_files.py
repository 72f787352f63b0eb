"""Gemini's files and resumable uploads: where they are, and how they are named.

An upload goes on at the URL that its start answers. The Gemini SDKs send no key there: what they are
told in that URL is all that they show, so its id is one that nobody can guess.

Source: the `google-genai` package, version 3: files.py, _api_client.py.
"""

import re
from collections.abc import Mapping
from typing import Final

from .errors import ProtocolError
from .json_value import decode_json

GEMINI_VERSIONS: Final = ("v1", "v1beta", "v1alpha")
"""The versions of the API, as its paths have them."""
UPLOAD_ID: Final = "upload_id"
"""The query parameter that names an upload that has begun."""
UPLOAD_COMMAND: Final = "X-Goog-Upload-Command"
UPLOAD_STATUS: Final = "X-Goog-Upload-Status"
"""`active`: go on; `final`: there is no more to send; `cancelled`."""
UPLOAD_RECEIVED: Final = "X-Goog-Upload-Size-Received"
UPLOAD_FINAL: Final = "final"
MAX_START_BYTES: Final = 64 * 1024
"""What the body that begins an upload may have: a few short fields."""

_DOWNLOAD = ":download"
_matches_upload_id = re.compile(r"[0-9a-f]{32}").fullmatch


def is_upload_id(text: str) -> bool:
    """Say whether an id of an upload is one of ours; Gemini's are longer."""
    return _matches_upload_id(text) is not None


def is_start(headers: Mapping[str, str]) -> bool:
    """Say whether a request begins a resumable upload: then its body is what is said of the file.

    `headers` ignore case.
    """
    return headers.get(UPLOAD_COMMAND, "").strip().lower() == "start"


def split_download(segment: str) -> tuple[str, bool]:
    """Return the id of a file from the last segment of its path, and whether its bytes are meant."""
    return segment.removesuffix(_DOWNLOAD), segment.endswith(_DOWNLOAD)


def has_chosen_name(start: bytes) -> bool:
    """Say whether the body that begins an upload names the file: then it can be none of ours."""
    try:
        body = decode_json(start) if start.strip() else None
    except ProtocolError:
        return False
    file = body.get("file") if isinstance(body, dict) else None
    return isinstance(file, dict) and bool(file.get("name"))
