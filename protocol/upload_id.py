"""Ids of uploads in parts on OpenAI's paths: ours are told from a provider's by their form."""

import re

_UPLOAD = "upload_cc"
_PART = "part_cc"
_upload = re.compile(r"upload_cc([0-9a-f]{32})", re.ASCII).fullmatch
_part = re.compile(r"part_cc([0-9a-f]{32})", re.ASCII).fullmatch


def upload_id_of(name: str) -> str:
    """Return the id of the upload that the store knows by these 32 hexadecimal digits."""
    return _UPLOAD + name


def part_id_of(name: str) -> str:
    """Return the id of the part of an upload with these 32 hexadecimal digits."""
    return _PART + name


def read_upload_id(text: str) -> str | None:
    """Return the 32 digits of an id of ours; None: it is none."""
    match = _upload(text)
    return match[1] if match else None


def read_part_id(text: str) -> str | None:
    """Return the 32 digits of a part's id of ours; None: it is none."""
    match = _part(text)
    return match[1] if match else None
