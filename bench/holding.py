"""`python -m bench.holding`: uploads, refs and reads beside a sweep that never rests.

Two tenants hand in the same pictures, name them in turns, read, pin and let go of them, while leases
end within two seconds and a server sweeps twenty times a second. Each tenant's pictures are divided
among its clients, so that a client knows until when it holds what. What is held has to resolve, to the
right bytes; what is refused before its end, or read wrong, is a failure.
"""

import asyncio
import json
import random
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path

import aiohttp
import click
from PIL import Image

from coatcheck import AsyncClient
from coatcheck.client import BlobNotFoundError, ClientError, ServerError
from coatcheck.protocol import Digest, Scope
from coatcheck.store import open_keys

from .server_process import ServerStartError
from .soak import server

TENANTS = ("acme", "globex")
_CLIENTS = 3
_PICTURES = 120
_SIDE = 40
_SPEED = 200.0
_LEASE_SECONDS = 2.0
"""Of the time that passes here; the server's clock runs ahead."""
_PROMPT_SECONDS = 4.0
_KEPT_PART = 0.9
"""A use leaves a lease alone that is nearly fresh, so what is held ends a sixteenth earlier."""
_SETTINGS = {
    "lease_seconds": int(_LEASE_SECONDS * _SPEED),
    "prompt_seconds": int(_PROMPT_SECONDS * _SPEED),
    "review_seconds": int(0.25 * _SPEED),
    "sweep_seconds": 0.05,
}


@dataclass(slots=True)
class Tally:
    """What was done, and what failed."""

    uploads: int = 0
    turns: int = 0
    reads: int = 0
    lapsed: int = 0
    """Reads of what was held no more, refused."""
    let_go: int = 0
    refused: list[str] = field(default_factory=list[str])
    """What was held and did not resolve."""
    wrong: list[str] = field(default_factory=list[str])
    """Other bytes, or an answer that nobody asked for."""
    removed_blobs: int = 0
    """By the server's count."""


@dataclass(slots=True)
class _Held:
    """What a client knows of one of its pictures."""

    until: float = 0.0
    is_pinned: bool = False


class _Client:
    """One client of one tenant, with pictures of its own."""

    def __init__(
        self, url: str, key: str, mine: Sequence[bytes], chance: random.Random, tally: Tally
    ) -> None:
        self._client = AsyncClient(url, key)
        self._pictures = mine
        self._chance = chance
        self._tally = tally
        self._held = [_Held() for _ in mine]

    async def run(self, ends_at: float) -> None:
        """Act until then, and see at the end that pins held."""
        acts = (self._hand_in, self._turn, self._read, self._pin, self._let_go, self._rest)
        async with self._client:
            while _now() < ends_at:
                number = self._chance.randrange(len(self._pictures))
                act = self._chance.choices(acts, weights=(5, 5, 6, 1, 2, 2))[0]
                try:
                    await act(number)
                except (ClientError, aiohttp.ClientError) as error:
                    self._tally.wrong.append(f"{act.__name__}: {error!r}"[:200])
            for number, held in enumerate(self._held):
                if held.is_pinned:
                    await self._read(number)

    async def _hand_in(self, number: int) -> None:
        begun = _now()
        await self._client.put(self._pictures[number])
        self._hold(number, begun, _LEASE_SECONDS)
        self._tally.uploads += 1

    async def _turn(self, number: int) -> None:
        """Upload, then name what was uploaded: the gap in which a collector may not strike."""
        await self._hand_in(number)
        ref = f"blob:{Digest.of(self._pictures[number])}"
        content = [{"type": "image_url", "image_url": {"url": ref}}]
        begun = _now()
        try:
            answer = await self._client.chat(
                model="echo",
                messages=[{"role": "user", "content": content}],
                user=f"{number}",
            )
        except (BlobNotFoundError, ServerError) as error:
            self._missed(number, f"turn: {error}")
            return
        if Digest.of(self._pictures[number]) not in str(answer.message):
            self._tally.wrong.append("turn: another picture")
        self._hold(number, begun, _PROMPT_SECONDS)
        self._tally.turns += 1

    async def _read(self, number: int) -> None:
        picture = self._pictures[number]
        try:
            data = await self._client.get(Digest.of(picture))
        except BlobNotFoundError as error:
            self._missed(number, f"read: {error}")
            return
        if data != picture:
            self._tally.wrong.append("read: other bytes")
        self._tally.reads += 1

    async def _pin(self, number: int) -> None:
        try:
            await self._client.pin(Digest.of(self._pictures[number]))
        except BlobNotFoundError as error:
            self._missed(number, f"pin: {error}")
            return
        self._held[number].is_pinned = True

    async def _let_go(self, number: int) -> None:
        self._held[number] = _Held()
        try:
            await self._client.delete(Digest.of(self._pictures[number]))
        except BlobNotFoundError:
            return
        self._tally.let_go += 1

    async def _rest(self, number: int) -> None:
        await asyncio.sleep(self._chance.random() * _LEASE_SECONDS)

    def _hold(self, number: int, begun: float, seconds: float) -> None:
        held = self._held[number]
        held.until = max(held.until, begun + seconds * _KEPT_PART)

    def _missed(self, number: int, what: str) -> None:
        held = self._held[number]
        if held.is_pinned or _now() < held.until:
            self._tally.refused.append(what[:200])
        else:
            self._tally.lapsed += 1


def pictures() -> list[bytes]:
    """Return small pictures of noise: more than the clients can keep alive."""
    noise = random.Random(2)
    made: list[bytes] = []
    for _ in range(_PICTURES):
        buffer = BytesIO()
        image = Image.frombytes("RGB", (_SIDE, _SIDE), noise.randbytes(_SIDE * _SIDE * 3))
        image.save(buffer, "PNG")
        made.append(buffer.getvalue())
    return made


async def hold(folder: Path, seconds: float) -> Tally:
    """Run it for so many seconds.

    Raises:
        ServerStartError: the server did not start.
    """
    data = folder / "store"
    usual: tuple[Scope, ...] = ("read", "write", "gateway")
    async with open_keys(data) as keys:
        made = [await keys.create(tenant=name, scopes=usual) for name in TENANTS]
        admin = await keys.create(tenant=TENANTS[0], scopes={"admin"})
    settings = {"data": str(data), **_SETTINGS}
    tally = Tally()
    seen = await asyncio.to_thread(pictures)
    with server(folder, "store", _SPEED, "serve", settings) as served:
        ends_at = _now() + seconds
        async with asyncio.TaskGroup() as group:
            for one in made:
                for part in range(_CLIENTS):
                    client = _Client(
                        served.url,
                        one.key.text,
                        seen[part::_CLIENTS],
                        random.Random(f"{one.key.id}{part}"),
                        tally,
                    )
                    group.create_task(client.run(ends_at))
        tally.removed_blobs = await _removed(served.url, admin.key.text)
    return tally


async def _removed(url: str, key: str) -> int:
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(url + "/metrics", headers=headers) as answer,
    ):
        text = await answer.text()
    found = re.search(r"^coatcheck_blobs_removed_total ([0-9.e+]+)$", text, re.MULTILINE)
    return int(float(found[1])) if found else 0


def _now() -> float:
    return asyncio.get_running_loop().time()


@click.command()
@click.option("--seconds", default=600.0, show_default=True, type=click.FloatRange(min=1))
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
def main(seconds: float, as_json: bool) -> None:
    """Hold pictures against a sweep; exit with 1 when one was refused or lost."""
    try:
        with tempfile.TemporaryDirectory(prefix="coatcheck-holding-") as folder:
            tally = asyncio.run(hold(Path(folder), seconds))
    except ServerStartError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(asdict(tally), indent=2))
    else:
        click.echo(
            f"{tally.uploads} uploads, {tally.turns} turns, {tally.reads} reads, {tally.let_go} let go, "
            f"{tally.lapsed} lapsed, {tally.removed_blobs} blobs removed; "
            f"{len(tally.refused)} refused that were held, {len(tally.wrong)} wrong answers"
        )
        for failure in [*tally.refused, *tally.wrong][:5]:
            click.echo(failure)
    if tally.refused or tally.wrong or not tally.removed_blobs:
        sys.exit(1)


if __name__ == "__main__":
    main()
