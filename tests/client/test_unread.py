import asyncio

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler

from coatcheck.client import unread


async def test_what_came_before_a_break_is_given_out_once() -> None:
    protocol = ResponseHandler(asyncio.get_running_loop())
    content = aiohttp.StreamReader(protocol, 1024, loop=asyncio.get_running_loop())
    content.feed_data(b"the last word")
    content.set_exception(aiohttp.ClientPayloadError("broke off"))
    with pytest.raises(aiohttp.ClientPayloadError):
        await content.readany()
    assert unread(content) == b"the last word"
    assert unread(content) == b""
