"""One conversation, carried on over a link in each of the three ways.

A talk keeps the messages so far and puts one question after another; a `Said` is what came of
one. The plain ways speak HTTP as any program does and send the whole list each time. Where the
link's body limit refuses that, they send it again over the same link without the limit, so that
there is an answer to go on with.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import aiohttp

from coatcheck.client import Assembly, AsyncClient, ClientError
from coatcheck.protocol import Json, JsonObject, encode_json

from .errors import DemoError
from .shaping_proxy import ShapingProxy, Traffic

__all__ = ["EnvelopeTalk", "Links", "PlainTalk", "Said", "Talk"]

_CHAT: Final = "/v1/chat/completions"
_MODEL: Final = "echo"
_OK: Final = 200
_TOO_LARGE: Final = 413


@dataclass(frozen=True, slots=True)
class Said:
    """What came of one question."""

    text: str
    first_token_seconds: float | None
    """From the question to the first text of the answer; None when it has no text."""
    status: int
    """What the limited link answered."""


@dataclass(frozen=True, slots=True)
class Links:
    """Two links to the same server, alike but for the body limit."""

    limited: ShapingProxy
    free: ShapingProxy


class Talk(Protocol):
    """A conversation that goes on as long as one asks."""

    async def ask(self, question: str, image_urls: Sequence[str] = ()) -> Said:
        """Put a question, with images if any, and wait for the whole answer.

        Raises:
            DemoError: no answer came.
        """
        ...

    @property
    def traffic(self) -> Traffic:
        """All bytes so far, but for those of requests that the limit refused."""
        ...


def user_message(question: str, image_urls: Sequence[str]) -> JsonObject:
    """A question in the form of openai.chat; plain text where there is no image."""
    if not image_urls:
        return {"role": "user", "content": question}
    images: list[Json] = [{"type": "image_url", "image_url": {"url": url}} for url in image_urls]
    return {"role": "user", "content": [{"type": "text", "text": question}, *images]}


class PlainTalk:
    """Sends the whole list of messages on every turn, images in whatever form they were given."""

    def __init__(self, session: aiohttp.ClientSession, links: Links) -> None:
        """Ask through `links`, with connections of `session`, which stays the caller's."""
        self._session = session
        self._links = links
        self._messages: list[Json] = []

    async def ask(self, question: str, image_urls: Sequence[str] = ()) -> Said:
        """See `Talk.ask`."""
        self._messages.append(user_message(question, image_urls))
        request: JsonObject = {"model": _MODEL, "messages": self._messages, "stream": True}
        body = encode_json(request)
        said = await self._post(self._links.limited, body)
        if said.status == _TOO_LARGE:
            answered = await self._post(self._links.free, body)
            said = Said(answered.text, answered.first_token_seconds, said.status)
        self._messages.append({"role": "assistant", "content": said.text})
        return said

    @property
    def traffic(self) -> Traffic:
        """See `Talk.traffic`."""
        limited, free = self._links.limited.carried, self._links.free.carried
        return Traffic(limited.up + free.up, limited.down + free.down)

    async def _post(self, link: ShapingProxy, body: bytes) -> Said:
        began = asyncio.get_running_loop().time()
        headers = {"Content-Type": "application/json"}
        try:
            async with self._session.post(link.url + _CHAT, data=body, headers=headers) as answer:
                if answer.status == _TOO_LARGE:
                    return Said("", None, answer.status)
                if answer.status != _OK:
                    raise DemoError(f"the server answered {answer.status}: {await answer.text()}")
                return await _heard(answer.content, began)
        except (aiohttp.ClientError, TimeoutError, ClientError) as error:
            raise DemoError(f"no whole answer came: {error}") from error


async def _heard(content: aiohttp.StreamReader, began: float) -> Said:
    """Read a streamed answer to its end."""
    clock = asyncio.get_running_loop().time
    assembly = Assembly()
    first: float | None = None
    async for piece in content.iter_any():
        for _ in assembly.feed(piece):
            if first is None and assembly.text:
                first = clock() - began
    assembly.end()
    return Said(assembly.text, first, _OK)


class EnvelopeTalk:
    """Names the prompt that a question continues, and sends what is new."""

    def __init__(self, client: AsyncClient, link: ShapingProxy) -> None:
        """Ask with `client`, which goes through `link`; both stay the caller's."""
        self._client = client
        self._link = link
        self._messages: list[JsonObject] = []

    async def ask(self, question: str, image_urls: Sequence[str] = ()) -> Said:
        """See `Talk.ask`."""
        self._messages.append(user_message(question, image_urls))
        clock = asyncio.get_running_loop().time
        began = clock()
        first: float | None = None
        try:
            stream = await self._client.chat_stream(model=_MODEL, messages=self._messages)
            async with stream:
                async for _ in stream:
                    if first is None and stream.text:
                        first = clock() - began
        except ClientError as error:
            raise DemoError(f"no whole answer came: {error}") from error
        self._messages.append(stream.message)
        return Said(stream.text, first, _OK)

    @property
    def traffic(self) -> Traffic:
        """See `Talk.traffic`."""
        return self._link.carried
