"""The model that a request asks for, read from the beginning of its body.

To choose an upstream before a body has come whole. The reading is loose: what is malformed names no
model, and is the upstream's to refuse.
"""

import json
import re
from itertools import islice

MAX_MODEL_CHARS = 256
_MAX_TOKENS = 100_000  # 20 ms; a megabyte of text has a tenth as many

# Every token of JSON that is structure or a string; what stands between them is no string. A string
# without an end is its opening quote alone. Possessive, so that nothing is tried twice.
_tokens = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],:"]', re.DOTALL).finditer
_boundary = re.compile(r'boundary="?([^";,\s]{1,70})', re.IGNORECASE).search
_names_model = re.compile(rb'form-data;[^\r\n]*\bname="?model"?(?:;|\r|$)', re.IGNORECASE).search


def peek_model(head: bytes, content_type: str) -> str | None:
    """Return the model that a body names within `head`; None when it is not there."""
    if content_type[:20].lower().startswith("multipart/form-data"):
        match = _boundary(content_type)
        return _form_model(head, match[1].encode()) if match else None
    return _json_model(head)


def _json_model(head: bytes) -> str | None:
    """Return the string that is the outermost object's `model`; the first, if there are several."""
    depth, key, is_value = 0, b"", False
    for match in islice(_tokens(head), _MAX_TOKENS):
        token = match[0]
        if token in (b"{", b"["):
            depth += 1
            if token == b"[" and depth == 1:
                return None
        elif token in (b"}", b"]"):
            depth -= 1
        elif token == b'"':
            return None
        elif depth != 1:
            continue
        elif token == b",":
            key, is_value = b"", False
        elif token == b":":
            is_value = True
        elif not is_value:
            key = token
        elif key == b'"model"':
            return _text(token)
    return None


def _text(token: bytes) -> str | None:
    try:
        text = json.loads(token)
    except ValueError:
        return None
    return text if isinstance(text, str) and len(text) <= MAX_MODEL_CHARS else None


def _form_model(head: bytes, boundary: bytes) -> str | None:
    """Return the value of the form's field `model`, when it is there whole."""
    *whole, _ = head.split(b"--" + boundary)
    for part in whole:
        fields, _, value = part.partition(b"\r\n\r\n")
        if len(fields) < 1024 and _names_model(fields):
            text = value.removesuffix(b"\r\n").decode("utf-8", "replace")
            return text if len(text) <= MAX_MODEL_CHARS else None
    return None
