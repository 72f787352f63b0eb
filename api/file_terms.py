"""What a form says of the file in it: what it is for, and how long it is kept.

Source: the `openai` package, version 3: resources/files.py, types/file_create_params.py.
"""

import re
from dataclasses import dataclass
from typing import Final

from coatcheck.protocol import KEPT_PURPOSES, is_kept_purpose
from coatcheck.web import FormFile, ProblemError, refuse

MIN_LIFETIME_SECONDS: Final = 3600
MAX_LIFETIME_SECONDS: Final = 2_592_000
ANCHOR: Final = "created_at"
_ANCHOR_FIELD = "expires_after[anchor]"
_SECONDS_FIELD = "expires_after[seconds]"
_decimal = re.compile(r"[1-9][0-9]{0,8}", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class FileTerms:
    """What a file is for, and for how many seconds it is kept from its creation on.

    `lifetime_seconds` is None for one that does not expire.
    """

    purpose: str
    lifetime_seconds: int | None = None


def check_terms(form: FormFile) -> None:
    """Look at what is there so far: refuse what nothing behind it can mend.

    Raises:
        ProblemError: as `read_terms`, but for what may still come.
    """
    _purpose(form)
    _seconds(form)


def read_terms(form: FormFile) -> FileTerms:
    """Return what a form that was read in full says.

    Raises:
        ProblemError: 400 `purpose_missing`, `purpose_unsupported`, `expires_after_invalid` or
            `form_field_repeated`.
    """
    purpose = _purpose(form)
    if purpose is None:
        raise purpose_missing()
    seconds = _seconds(form)
    anchor = form.field(_ANCHOR_FIELD)
    if (anchor is None) != (seconds is None):
        raise expiry_invalid(_ANCHOR_FIELD if anchor is None else _SECONDS_FIELD)
    return FileTerms(purpose, seconds)


def purpose_missing() -> ProblemError:
    """Return the error for a file of which nobody says what it is for."""
    return refuse(
        400,
        "purpose_missing",
        "No purpose",
        f"say what the file is for; kept here is what is for {_KEPT}",
        path="purpose",
    )


def purpose_unsupported(purpose: str) -> ProblemError:
    """Return the error for a purpose that is a provider's, where there is no such provider."""
    return refuse(
        400,
        "purpose_unsupported",
        "Purpose not supported",
        f"files for {purpose[:64]!r} are not kept here, and there is no upstream to pass them on to; "
        f"kept here is what is for {_KEPT}",
        path="purpose",
    )


def expiry_invalid(path: str) -> ProblemError:
    """Return the error for an `expires_after` that is none."""
    return refuse(
        400,
        "expires_after_invalid",
        "Invalid expiry",
        f"expires_after has the anchor {ANCHOR!r}, and seconds from {MIN_LIFETIME_SECONDS} to "
        f"{MAX_LIFETIME_SECONDS}",
        path=path,
    )


_KEPT = " and ".join(KEPT_PURPOSES)


def _purpose(form: FormFile) -> str | None:
    purpose = form.field("purpose")
    if purpose == "":
        raise purpose_missing()
    if purpose is not None and not is_kept_purpose(purpose):
        raise purpose_unsupported(purpose)
    return purpose


def _seconds(form: FormFile) -> int | None:
    if form.field(_ANCHOR_FIELD) not in (None, ANCHOR):
        raise expiry_invalid(_ANCHOR_FIELD)
    text = form.field(_SECONDS_FIELD)
    if text is None:
        return None
    if not _decimal(text) or not MIN_LIFETIME_SECONDS <= int(text) <= MAX_LIFETIME_SECONDS:
        raise expiry_invalid(_SECONDS_FIELD)
    return int(text)
