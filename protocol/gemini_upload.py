"""Gemini's resumable uploads: where they are, and how they are named.

An upload goes on at the URL that its start answers. The Gemini SDKs send no key there: what they are
told in that URL is all that they show, so its id is one that nobody can guess.

Source: the `google-genai` package, version 3: files.py, _api_client.py.
"""

import re
from typing import Final

GEMINI_VERSIONS: Final = ("v1", "v1beta", "v1alpha")
"""The versions of the API, as its paths have them."""
UPLOAD_ID: Final = "upload_id"
"""The query parameter that names an upload that has begun."""

_matches_upload_id = re.compile(r"[0-9a-f]{32}").fullmatch


def is_upload_id(text: str) -> bool:
    """Say whether an id of an upload is one of ours; Gemini's are longer."""
    return _matches_upload_id(text) is not None
