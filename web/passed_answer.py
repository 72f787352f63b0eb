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


async def keep_untyped(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Take back the type that aiohttp added to an answer that came without one."""
    if isinstance(response, PassedAnswer) and not response.is_typed:
        response.headers.popall("Content-Type", None)
