"""What the store's face does not keep itself: the seam to whoever passes it on.

`api` knows no upstreams. Whoever joins the faces of a process hands in what passes requests on to
a provider, untouched; a store alone has nothing of the kind.
"""

from collections.abc import AsyncGenerator
from typing import Protocol

from aiohttp import web

from coatcheck.protocol import Provider
from coatcheck.web import refuse


class Elsewhere(Protocol):
    """Passes requests on to providers, and their answers back."""

    def takes(self, provider: Provider) -> bool:
        """Say whether there is anybody to pass a provider's requests on to."""
        ...

    def takes_all(self, provider: Provider) -> bool:
        """Say whether everything of this provider's is to pass, what could be kept here too."""
        ...

    async def pass_on(
        self, request: web.Request, body: AsyncGenerator[bytes] | None = None
    ) -> web.StreamResponse:
        """Pass a request on as it came, and the answer back.

        `body` yields the request's whole body, where some of that was read before; it is closed.

        Raises:
            ProblemError: it cannot be passed on, or may not be: that takes a key with the scope
                `gateway`.
        """
        ...


class Nowhere:
    """There is nobody to pass anything on to."""

    def takes(self, provider: Provider) -> bool:
        """No."""
        return False

    def takes_all(self, provider: Provider) -> bool:
        """No."""
        return False

    async def pass_on(
        self, request: web.Request, body: AsyncGenerator[bytes] | None = None
    ) -> web.StreamResponse:
        """Refuse.

        Raises:
            ProblemError: 404 `not_found`.
        """
        raise refuse(404, "not_found", "Not Found", "nothing here has this path")
