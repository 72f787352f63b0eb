"""How much of a list a request asks for."""

import re

from aiohttp import web

from .errors import refuse

_decimal = re.compile(r"[1-9][0-9]{0,8}", re.ASCII).fullmatch


def read_limit(request: web.Request, default: int, most: int) -> int:
    """Return the query's `limit`, 1 to `most`; `default` where there is none.

    Raises:
        ProblemError: 400 `limit_invalid`; also for a sign, a space or a leading zero, so that one
            number has one spelling.
    """
    text = request.query.get("limit")
    if text is None:
        return default
    if not _decimal(text) or int(text) > most:
        raise refuse(400, "limit_invalid", "Invalid limit", f"limit is 1 to {most}")
    return int(text)
