"""Whom a request is for, in its tenant's own words."""

from aiohttp import web

from coatcheck.protocol import USER_HEADER, parse_end_user

from .route import Parameter

END_USER_FIELD = Parameter(
    USER_HEADER, "whom this is for; what was stored for them can be erased by this name", "header"
)


def end_user_of(request: web.BaseRequest) -> str | None:
    """Return the end user that `Coatcheck-User` names; None where it is not sent.

    Raises:
        InvalidEndUserError: it is malformed, or sent twice.
    """
    lines = request.headers.getall(USER_HEADER, ())
    if not lines:
        return None
    name, *others = lines
    return parse_end_user("" if others else name)
