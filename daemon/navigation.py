"""What browsers are not shown: an upstream's answer as a page, which would be one of this server's.

Its scripts could use what a browser adds to requests for this server: a login, or a place on
loopback while there are no keys. What a page fetches is data and goes through.
"""

from collections.abc import Mapping

from aiohttp import web

from coatcheck.web import refuse

_PLACES_OF_PAGES = frozenset({"document", "iframe", "frame", "fencedframe", "embed", "object"})


def refuse_navigation(request: web.Request) -> None:
    """Return unless a browser would show the answer as a page.

    Raises:
        ProblemError: 403 `navigation_refused`.
    """
    if _shows_page(request.headers):
        raise refuse(
            403,
            "navigation_refused",
            "Not for a browser to show",
            "what an upstream answers is no page of this server; ask for it with a program",
        )


def _shows_page(headers: Mapping[str, str]) -> bool:
    place = headers.get("Sec-Fetch-Dest")
    if place is None:
        # Browsers leave it out where neither TLS nor loopback keeps the request from others.
        return headers.get("Upgrade-Insecure-Requests") == "1"
    return place.lower() in _PLACES_OF_PAGES
