"""An answer that is somebody else's, passed on: it says no more of its body than they did.

aiohttp names a body's type where nobody has, and a client that looks at the type would read another
answer than without us.
"""

from aiohttp import web


class PassedAnswer(web.StreamResponse):
    """A streamed answer that may have no Content-Type."""

    def __init__(self, status: int, headers: list[tuple[str, str]]) -> None:
        """`headers` are those of the answer that is passed on."""
        super().__init__(status=status)
        self.headers.extend(headers)
        self.is_typed = "Content-Type" in self.headers

    def join_head(self) -> None:
        """Let the head go with the first bytes of the body: one call of the socket's for both.

        To be called before `prepare`. A `write` of nothing sends a head that waits.
        """
        self._send_headers_immediately = False


async def keep_untyped(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Take back the type that aiohttp added to an answer that came without one."""
    if isinstance(response, PassedAnswer) and not response.is_typed:
        response.headers.popall("Content-Type", None)
