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


def peek_model(head: bytes, content_type: str, frame: str | None = None) -> str | None:
    """Return the model that a body names within `head`; None when it is not there.

    `frame` is the key of the object in which JSON names it, where that is not the outermost one.
    """
    if content_type[:20].lower().startswith("multipart/form-data"):
        match = _boundary(content_type)
        return _form_model(head, match[1].encode()) if match else None
    return _json_model(head, ("model",) if frame is None else (frame, "model"))


def _json_model(head: bytes, path: tuple[str, ...]) -> str | None:
    """Return the string at a path of keys; the first, if there are several."""
    wanted = [f'"{key}"'.encode() for key in path]
    depth, within, key, is_value = 0, 0, b"", False
    for match in islice(_tokens(head), _MAX_TOKENS):
        token = match[0]
        if token in (b"{", b"["):
            if token == b"[" and depth == 0:
                return None
            is_next = depth == within and (depth == 0 or key == wanted[depth - 1])
            within += token == b"{" and is_next and within < len(wanted)
            depth += 1
            key, is_value = (b"", False) if depth == within else (key, is_value)
        elif token in (b"}", b"]"):
            depth -= 1
            within = min(within, depth)
        elif token == b'"':
            return None
        elif depth != within:
            continue
        elif token == b",":
            key, is_value = b"", False
        elif token == b":":
            is_value = True
        elif not is_value:
            key = token
        elif depth == len(wanted) and key == wanted[-1]:
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
