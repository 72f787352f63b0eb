"""Uploads and downloads beside nginx and docker-registry, and two workers beside one.

Both servers of a case do the same work under the same load, in turns: rounds alternate between them,
and between who goes first. What is compared is a round with the round next to it, so that what else
happens on the machine falls on both. The first two rounds are not counted.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
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

_CONNECTIONS = 4
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
    """The same work for two servers; `make` gives one connection's share of a round."""

    name: str
    limit: float
    make: Callable[[_Side, int], Script]
    requests: int
    """In one round, over all connections."""


def measure_neighbours(folder: Path, rounds: int) -> Iterator[Finding | Unmeasured]:
    """Yield the ratios of our requests a second to theirs; keeps data in `folder`.

    Raises:
        ServerStartError: a server did not start.
        UnexpectedAnswerError: a server did not do its work.
    """
    random = Random(2_600_000)
    photographs = [Bodies(random.randbytes(_PHOTOGRAPH_BYTES)) for _ in range(_CONNECTIONS)]
    small = [Bodies(random.randbytes(_SMALL_BYTES)) for _ in range(_CONNECTIONS)]
    missing = missing_neighbours()
    if missing:
        why = f"as root: apt-get install --no-install-recommends {' '.join(missing)}"
        yield Unmeasured("beside nginx and docker-registry", why)
    else:
        with ExitStack() as stack:
            ours = _side(stack, "coatcheck", Coatcheck(), _coatcheck(folder, "one"))
            files = _side(stack, "nginx", Nginx(), nginx(folder))
            blobs = _side(stack, "registry", Registry(), registry(folder))
            for case in _transfers("2.6 MB", photographs, [ours, files], (0.7, 0.5), (32, 100)):
                yield _compare(case, ours, files, rounds)
            for case in _transfers("20 kB", small, [ours, blobs], (2.0, 2.0), (60, 200)):
                yield _compare(case, ours, blobs, rounds)
    with ExitStack() as stack:
        one = _side(stack, "one", Coatcheck(), _coatcheck(folder, "alone", "--workers", "1"))
        two = _side(stack, "two", Coatcheck(), _coatcheck(folder, "pair", "--workers", "2"))
        _, download = _transfers("20 kB, two workers", small, [one, two], (0, 1.7), (60, 800))
        yield _compare(download, two, one, rounds)


def _transfers(
    size: str,
    bodies: list[Bodies],
    sides: list[_Side],
    limits: tuple[float, float],
    requests: tuple[int, int],
) -> tuple[_Case, _Case]:
    """Return the cases of handing in and of getting bodies of one size, each checked once."""
    kept = [each.next() for each in bodies]
    for side in sides:
        side.load.run([side.peer.put(body) for body in kept])
        for body in kept:
            _check(side, body)

    def upload(side: _Side, number: int) -> Script:
        return uploads(side.peer, bodies[number], requests[0] // _CONNECTIONS)

    def download(side: _Side, number: int) -> Script:
        return downloads(side.peer, kept[number], requests[1] // _CONNECTIONS)

    return (
        _Case(f"upload {size}", limits[0], upload, requests[0]),
        _Case(f"download {size}", limits[1], download, requests[1]),
    )


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
            scripts = [case.make(side, connection) for connection in range(_CONNECTIONS)]
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
    return _Side(name, peer, server, stack.enter_context(Load(server.port, _CONNECTIONS)))


def _coatcheck(folder: Path, name: str, *options: str) -> ServerProcess:
    settings = folder / "neighbours.toml"
    settings.write_text('log_level = "warning"\n')
    command = [sys.executable, "-m", "coatcheck.cli", "serve", "--port", "0", *options]
    arguments = ["--data", str(folder / f"data-{name}"), "--config", str(settings)]
    return ServerProcess([*command, *arguments], cwd=_ROOT, log=folder / f"serve-{name}.log")
