"""Two workers beside one: small downloads a second, in turns.

Asked by wrk, because a machine of two cores has none to spare for a client: what it takes is missing
in the ratio.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from statistics import median, quantiles

from .caller import UnexpectedAnswerError
from .finding import Finding, Unmeasured
from .server_process import ServerProcess

MIN_RATIO = 1.7
_NAME = "download 20 kB, two workers / one"
_BYTES = 20_000
_ROUNDS = 12
_WARM_UP_ROUNDS = 2
_ROOT = Path(__file__).resolve().parent.parent


def measure_workers(folder: Path) -> Iterator[Finding | Unmeasured]:
    """Yield the ratio of what two workers serve to what one does; keeps data in `folder`.

    Raises:
        ServerStartError: a server did not start.
        UnexpectedAnswerError: a server did not do its work.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        yield Unmeasured(_NAME, "as root: apt-get install --no-install-recommends wrk")
        return
    body = Random(_BYTES).randbytes(_BYTES)
    with ExitStack() as stack:
        servers = [stack.enter_context(_coatcheck(folder, count)) for count in (1, 2)]
        urls = [_put(server, body) for server in servers]
        rates: list[list[float]] = [[], []]
        for number in range(_WARM_UP_ROUNDS + _ROUNDS):
            for side in (0, 1) if number % 2 else (1, 0):
                rates[side].append(_requests_a_second(wrk, urls[side]))
    one, two = (each[_WARM_UP_ROUNDS:] for each in rates)
    ratios = [more / less for less, more in zip(one, two, strict=True)]
    low, _, high = quantiles(ratios, n=4)
    compared = (
        f"{median(two):.0f}/s, one {median(one):.0f}/s; half of the rounds {low:.2f} to {high:.2f}"
    )
    yield Finding(_NAME, median(ratios), MIN_RATIO, "x", compared, at_least=True)


def _put(server: ServerProcess, body: bytes) -> str:
    connection = HTTPConnection("127.0.0.1", server.port)
    try:
        connection.request("POST", "/v1/blobs", body)
        digest = json.loads(connection.getresponse().read())["digest"]
    finally:
        connection.close()
    return f"{server.url}/v1/blobs/{digest}"


def _requests_a_second(wrk: str, url: str) -> float:
    """Ask for one second, over as many connections as occupy both workers."""
    command = [wrk, "--threads", "1", "--connections", "16", "--duration", "1s", url]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    rate = re.search(r"^Requests/sec: +([0-9.]+)$", done.stdout, re.MULTILINE)
    if rate is None or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise UnexpectedAnswerError(f"wrk: {done.stdout}{done.stderr}")
    return float(rate[1])


def _coatcheck(folder: Path, workers: int) -> ServerProcess:
    settings = folder / "workers.toml"
    settings.write_text('log_level = "warning"\n')
    arguments = ["--port", "0", "--workers", str(workers), "--config", str(settings)]
    data = ["--data", str(folder / f"by-{workers}")]
    command = [sys.executable, "-m", "coatcheck.cli", "serve", *arguments, *data]
    return ServerProcess(command, cwd=_ROOT, log=folder / f"by-{workers}.log")
