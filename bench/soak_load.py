"""The load of a soak: a fixed set of pictures and conversations, sent again and again.

The set is fixed so that what is kept has a size to stay at. Between the turns come what servers
meet in a day: clients that leave in the middle, requests that are wrong, blobs let go and handed in
again.
"""

import asyncio
import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO

import aiohttp
from PIL import Image

from coatcheck import AsyncClient
from coatcheck.client import BlobNotFoundError, ClientError
from coatcheck.protocol import Digest

PICTURES = 24
CONVERSATIONS = 12
TURNS = 6
_SIDE = 160


@dataclass(slots=True)
class Tally:
    """What the load did."""

    turns: int = 0
    uploads: int = 0
    downloads: int = 0
    refusals: int = 0
    departures: int = 0
    failures: list[str] = field(default_factory=list[str])


def pictures(seed: int = 1) -> list[bytes]:
    """Return the pictures, each some 80 kB of noise."""
    noise = random.Random(seed)
    made: list[bytes] = []
    for _ in range(PICTURES):
        image = Image.frombytes("RGB", (_SIDE, _SIDE), noise.randbytes(_SIDE * _SIDE * 3))
        buffer = BytesIO()
        image.save(buffer, "PNG")
        made.append(buffer.getvalue())
    return made


class Load:
    """Drives one server until it is told to end."""

    def __init__(self, url: str, pictures: Sequence[bytes], seed: int = 1) -> None:
        self._url = url
        self._pictures = pictures
        self._chance = random.Random(seed)
        self.tally = Tally()

    async def run(self, seconds: float, tasks: int = 4) -> Tally:
        """Send for `seconds`, from `tasks` clients at once; return what was done."""
        ends_at = asyncio.get_running_loop().time() + seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(tasks):
                group.create_task(self._client(ends_at))
        return self.tally

    async def _client(self, ends_at: float) -> None:
        acts = (self._converse, self._upload, self._download, self._err, self._leave, self._let_go)
        async with AsyncClient(self._url) as client, aiohttp.ClientSession(self._url) as session:
            while asyncio.get_running_loop().time() < ends_at:
                act = self._chance.choices(acts, weights=(6, 3, 4, 2, 2, 1))[0]
                try:
                    await act(client, session)
                except (ClientError, aiohttp.ClientError) as error:
                    self.tally.failures.append(f"{act.__name__}: {error!r}"[:200])

    async def _converse(self, client: AsyncClient, session: aiohttp.ClientSession) -> None:
        number = self._chance.randrange(CONVERSATIONS)
        messages: list[dict[str, object]] = []
        for turn in range(TURNS):
            picture = self._pictures[(number * TURNS + turn) % PICTURES]
            ref = (await client.put(picture)).ref
            messages.append(
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": f"conversation {number}, turn {turn}"},
                        {"type": "image_url", "image_url": {"url": ref}},
                    ],
                }
            )
            try:
                answer = await client.chat(model="echo", messages=messages)
            except BlobNotFoundError:
                return  # another client has let go of a picture meanwhile
            messages.append(dict(answer.message))
            self.tally.turns += 1

    async def _upload(self, client: AsyncClient, session: aiohttp.ClientSession) -> None:
        data = self._chance.choice(self._pictures)
        async with session.post("/v1/blobs", data=data) as answer:
            self._expect(answer, 201)
            self.tally.uploads += 1

    async def _download(self, client: AsyncClient, session: aiohttp.ClientSession) -> None:
        digest = self._any_digest()
        headers = {"Range": "bytes=100-20000"} if self._chance.random() < 0.5 else {}
        async with session.get(f"/v1/blobs/{digest}", headers=headers) as answer:
            await answer.read()
            self._expect(answer, 200, 206, 404)
            self.tally.downloads += 1

    async def _err(self, client: AsyncClient, session: aiohttp.ClientSession) -> None:
        wrong = self._chance.choice(
            [
                ("GET", f"/v1/blobs/sha256:{'0' * 64}", b"", 404),
                ("GET", "/v1/blobs/nonsense", b"", 400),
                ("PUT", f"/v1/blobs/sha256:{'0' * 64}", b"other bytes", 422),
                ("POST", "/v1/chat/completions", b'{"model": "echo", "messages": [', 400),
                ("POST", "/v1/blobs", b"", 400),
            ]
        )
        method, path, body, status = wrong
        async with session.request(method, path, data=body) as answer:
            await answer.read()
            self._expect(answer, status)
            self.tally.refusals += 1

    async def _leave(self, client: AsyncClient, session: aiohttp.ClientSession) -> None:
        """Go away in the middle of an upload, or of a stream."""
        reader, writer = await asyncio.open_connection(*self._address())
        writer.write(
            b"POST /v1/blobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000\r\n\r\n"
            + self._pictures[0][: self._chance.randrange(1, 60_000)]
        )
        await writer.drain()
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await reader.read()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        self.tally.departures += 1

    async def _let_go(self, client: AsyncClient, session: aiohttp.ClientSession) -> None:
        digest = self._any_digest()
        with contextlib.suppress(BlobNotFoundError):
            await client.pin(digest)
            await client.unpin(digest)
            await client.delete(digest)

    def _any_digest(self) -> Digest:
        return Digest.of(self._chance.choice(self._pictures))

    def _expect(self, answer: aiohttp.ClientResponse, *wanted: int) -> None:
        if answer.status not in wanted:
            self.tally.failures.append(f"{answer.method} {answer.url.path}: {answer.status}")

    def _address(self) -> tuple[str, int]:
        host, _, port = self._url.removeprefix("http://").rpartition(":")
        return host, int(port)
