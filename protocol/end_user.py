"""End users: whom a tenant uploads and asks for, in the tenant's own words.

1 to 256 characters of Unicode, in UTF-8 where they travel; no control character, and no space at
either end. Compared character by character: nothing is normalised. What was uploaded or kept for an
end user can be erased by this name.
"""

import re

from .errors import InvalidEndUserError

USER_HEADER = "Coatcheck-User"
"""Names the end user of an upload or a turn."""
MAX_END_USER_CHARACTERS = 256

# No controls (C0, DEL, C1), and no surrogates, which stand for bytes that are no UTF-8.
_end_user = re.compile(
    rf"(?! )[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{{1,{MAX_END_USER_CHARACTERS}}}(?<! )"
).fullmatch


def is_end_user(name: str) -> bool:
    """Say whether an end user may have this name."""
    return _end_user(name) is not None


def parse_end_user(text: str) -> str:
    """Return the name.

    Raises:
        InvalidEndUserError: it is none.
    """
    if not is_end_user(text):
        raise InvalidEndUserError(MAX_END_USER_CHARACTERS)
    return text
