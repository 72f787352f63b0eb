"""The `Server` header: our name. aiohttp would name its own version and Python's, which tells a
stranger only what to try.
"""

from aiohttp import web
from aiohttp.http import SERVER_SOFTWARE

SERVER_NAME = "coatcheck"


async def name_server(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Put our name where aiohttp put its own; an upstream's that is passed on stays."""
    if response.headers.get("Server") == SERVER_SOFTWARE:
        response.headers["Server"] = SERVER_NAME
