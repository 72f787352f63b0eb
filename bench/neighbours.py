"""Uploads and downloads beside nginx and docker-registry.

Both servers of a case do the same work under the same load, in turns: rounds alternate between them,
and between who goes first. What is compared is a round with the round next to it, so that what else
happens on the machine falls on both. The first two rounds are not counted.

Photographs are handed in twice over: the same ones again, which nginx writes over its file and the
store over its blob, so that both do all the work there is and the disk keeps its size; and new ones,
which nginx leaves in memory for the kernel to write some time, while the store waits for the disk.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from statistics import median, quantiles

from .caller import UnexpectedAnswerError
from .finding import Finding, Unmeasured
from .load import Load, Script
from .neighbour_scripts import (
    Bodies,
    Body,
    Coatcheck,
    Nginx,
    Peer,
    Registry,
    downloads,
    uploads,
)
from .neighbour_servers import missing_neighbours, nginx, registry
from .server_process import ServerProcess

_WIRES = range(4)
_WARM_UP_ROUNDS = 2
_PHOTOGRAPH_BYTES = 2_600_000
_SMALL_BYTES = 20_000
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class _Side:
    """One server under load."""

    name: str
    peer: Peer
    server: ServerProcess
    load: Load


@dataclass(frozen=True, slots=True)
class _Case:
    """The same work for two servers, and what our rate should be of theirs."""

    name: str
    limit: float
    make: Callable[[_Side, int], list[Script]]
    """Given how often, returns a script for each connection."""
    requests: int
    """In one round, over all connections."""


def measure_neighbours(folder: Path, rounds: int) -> Iterator[Finding | Unmeasured]:
    """Yield the ratios of our requests a second to theirs; keeps data in `folder`.

    Raises:
        ServerStartError: a server did not start.
        UnexpectedAnswerError: a server did not do its work.
    """
    missing = missing_neighbours()
    if missing:
        why = f"as root: apt-get install --no-install-recommends {' '.join(missing)}"
        yield Unmeasured("beside nginx and docker-registry", why)
        return
    random = Random(_PHOTOGRAPH_BYTES)
    photographs = _Kind("2.6 MB", [Bodies(random.randbytes(_PHOTOGRAPH_BYTES)) for _ in _WIRES])
    small = _Kind("20 kB", [Bodies(random.randbytes(_SMALL_BYTES)) for _ in _WIRES])
    with ExitStack() as stack:
        ours = _side(stack, "coatcheck", Coatcheck(), _coatcheck(folder))
        files = _side(stack, "nginx", Nginx(), nginx(folder))
        blobs = _side(stack, "registry", Registry(), registry(folder))
        for case in (
            _Case("upload 2.6 MB again", 0.7, photographs.again, 32),
            _Case("upload 2.6 MB, new", 0.25, photographs.anew, 32),
            _Case("download 2.6 MB", 0.5, photographs.got, 100),
        ):
            yield _compare(case, ours, files, rounds)
        for case in (
            _Case("upload 20 kB, new", 2.0, small.anew, 60),
            _Case("download 20 kB", 2.0, small.got, 200),
        ):
            yield _compare(case, ours, blobs, rounds)


class _Kind:
    """Bodies of one size: the ones that every server is given first, and new ones."""

    def __init__(self, size: str, bodies: list[Bodies]) -> None:
        self.size = size
        self._bodies = bodies
        self._first = [each.next() for each in bodies]
        self._given: set[str] = set()

    def again(self, side: _Side, times: int) -> list[Script]:
        """Hand in the first ones."""
        return [uploads(side.peer, partial(_same, body), times) for body in self._given_to(side)]

    def anew(self, side: _Side, times: int) -> list[Script]:
        """Hand in new ones."""
        return [uploads(side.peer, each.next, times) for each in self._bodies]

    def got(self, side: _Side, times: int) -> list[Script]:
        """Get the first ones."""
        return [downloads(side.peer, body, times) for body in self._given_to(side)]

    def _given_to(self, side: _Side) -> list[Body]:
        """Return the first ones, which the server has and answers with."""
        if side.name not in self._given:
            self._given.add(side.name)
            side.load.run([side.peer.put(body) for body in self._first])
            for body in self._first:
                _check(side, body)
        return self._first


def _same(body: Body) -> Body:
    return body


def _check(side: _Side, body: Body) -> None:
    connection = HTTPConnection("127.0.0.1", side.server.port)
    try:
        connection.request("GET", side.peer.path(body))
        if connection.getresponse().read() != body.common + body.salt:
            raise UnexpectedAnswerError(f"{side.name} answers with other bytes")
    finally:
        connection.close()


def _compare(case: _Case, ours: _Side, theirs: _Side, rounds: int) -> Finding:
    rates: dict[str, list[float]] = {ours.name: [], theirs.name: []}
    for number in range(_WARM_UP_ROUNDS + rounds):
        for side in (ours, theirs) if number % 2 else (theirs, ours):
            scripts = case.make(side, case.requests // len(_WIRES))
            rates[side.name].append(case.requests / side.load.run(scripts))
    mine, others = (rates[side.name][_WARM_UP_ROUNDS:] for side in (ours, theirs))
    ratios = [one / other for one, other in zip(mine, others, strict=True)]
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    compared = (
        f"{median(mine):.0f}/s, {theirs.name} {median(others):.0f}/s; "
        f"half of the rounds {low:.2f} to {high:.2f}"
    )
    name = f"{case.name}, {ours.name} / {theirs.name}"
    return Finding(name, median(ratios), case.limit, "x", compared, at_least=True)


def _side(stack: ExitStack, name: str, peer: Peer, process: ServerProcess) -> _Side:
    server = stack.enter_context(process)
    return _Side(name, peer, server, stack.enter_context(Load(server.port, len(_WIRES))))


def _coatcheck(folder: Path) -> ServerProcess:
    settings = folder / "neighbours.toml"
    settings.write_text('log_level = "warning"\n')
    arguments = ["--port", "0", "--data", str(folder / "store"), "--config", str(settings)]
    command = [sys.executable, "-m", "coatcheck.cli", "serve", *arguments]
    return ServerProcess(command, cwd=_ROOT, log=folder / "store.log")
