"""What a reverse proxy costs that does nothing but forward: the yardstick.

Run with `python -m bench.bare_proxy http://127.0.0.1:PORT`; it prints one line with its address.
It streams bodies both ways with aiohttp, as people write it in thirty lines.
"""

import asyncio
import signal
import sys

import aiohttp
from aiohttp import web

_HOP_BY_HOP = frozenset({"connection", "host", "keep-alive", "transfer-encoding", "upgrade"})


class _Proxy:
    def __init__(self, upstream: str, session: aiohttp.ClientSession) -> None:
        self._upstream = upstream
        self._session = session

    async def forward(self, request: web.Request) -> web.StreamResponse:
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() not in _HOP_BY_HOP
        }
        url = self._upstream + request.path_qs
        async with self._session.request(
            request.method, url, headers=headers, data=request.content
        ) as answer:
            response = web.StreamResponse(status=answer.status)
            response.content_type = answer.content_type
            response.content_length = answer.content_length
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response


async def _main(upstream: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(auto_decompress=False, timeout=timeout) as session:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", _Proxy(upstream, session).forward)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(f"listening on http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
        await stop.wait()
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
