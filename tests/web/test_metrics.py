"""What a server measures, in Prometheus' own words."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from prometheus_client import Counter, Gauge
from prometheus_client.parser import text_string_to_metric_families as read_text

from coatcheck.web import (
    Following,
    LoopLag,
    Metrics,
    Route,
    Server,
    Siblings,
    build_app,
    listen_unix,
    read_body,
    refuse,
)

Talk = Callable[[Server, bytes], Awaitable[bytes]]


def value(text: str, name: str, **labels: str) -> float:
    """Return the sum of the samples with this name and these labels."""
    return sum(
        sample.value
        for family in read_text(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def _names_in_openmetrics(text: str) -> set[str]:
    parser: Any = import_module("prometheus_client.openmetrics.parser")  # which has no types
    return {family.name for family in parser.text_string_to_metric_families(text)}


async def _echo(request: web.Request) -> web.StreamResponse:
    return web.Response(body=await read_body(request, 1 << 20))


async def _fail(request: web.Request) -> web.StreamResponse:
    raise refuse(418, "teapot", "No coffee")


ROUTES = [
    Route("POST", "/things/{thing}", _echo, scope=None),
    Route("GET", "/teapot", _fail, scope=None),
    Route("*", "/all/{path:(?s:.*)}", _echo, scope=None),
]


@asynccontextmanager
async def serving(metrics: Metrics, *routes: Route) -> AsyncGenerator[Server]:
    """Serve the routes and the metrics, as a process does."""
    app = build_app([*ROUTES, *routes, *metrics.face().routes])
    server = Server(app, meter=metrics.http)

    async def follow() -> None:
        metrics.http.carried(server.traffic)

    metrics.before_reading(follow)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(0.1)


async def scrape(http: ClientSession, server: Server, **headers: str) -> str:
    async with http.get(f"{server.address.url}/metrics", headers=headers) as answer:
        assert answer.status == 200
        return await answer.text()


async def test_requests_are_counted_by_route_method_and_status(http: ClientSession) -> None:
    async with serving(Metrics()) as server:
        url = server.address.url
        for number in range(3):
            async with http.post(f"{url}/things/{number}", data=b"x") as answer:
                await answer.read()
        await http.get(f"{url}/teapot")
        await http.get(f"{url}/nowhere")
        await http.request("PROPFIND", f"{url}/all/secret-path")
        text = await scrape(http, server)
    name = "coatcheck_requests_total"
    assert value(text, name, route="/things/{thing}", method="POST", status="200") == 3
    assert value(text, name, route="/teapot", method="GET", status="418") == 1
    assert value(text, name, route="unmatched", method="GET", status="404") == 1
    assert value(text, name, route="/all/{path}", method="other") == 1
    assert value(text, "coatcheck_request_seconds_count", route="/things/{thing}") == 3
    assert "secret-path" not in text
    assert "nowhere" not in text


async def test_what_is_no_request_is_counted_too(http: ClientSession, talk: Talk) -> None:
    async with serving(Metrics()) as server:
        await talk(server, b"what?\r\n\r\n")
        text = await scrape(http, server)
    assert value(text, "coatcheck_requests_total", route="malformed", status="400") == 1


async def test_a_client_that_leaves_is_counted_as_gone(http: ClientSession) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait(request: web.Request) -> web.StreamResponse:
        begun.set()
        try:
            await asyncio.Event().wait()
            return web.Response()
        finally:
            ended.set()

    async with serving(Metrics(), Route("POST", "/wait", wait, scope=None)) as server:
        _, writer = await asyncio.open_connection(server.address.host, server.address.port)
        writer.write(b"POST /wait HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        await begun.wait()
        writer.transport.abort()
        await ended.wait()
        text = await scrape(http, server)
    assert value(text, "coatcheck_requests_total", route="/wait", status="gone") == 1


async def test_bytes_and_connections_are_those_of_the_sockets(http: ClientSession) -> None:
    async with serving(Metrics()) as server:
        async with http.post(f"{server.address.url}/things/1", data=b"x" * 100_000) as answer:
            await answer.read()
        before = server.traffic
        text = await scrape(http, server)
    received = value(text, "coatcheck_hop_bytes_total", hop="client", direction="in")
    assert before.bytes_in < received < before.bytes_in + 500
    assert value(text, "coatcheck_hop_bytes_total", hop="client", direction="out") > 100_000
    assert value(text, "coatcheck_connections") == 1
    assert value(text, "coatcheck_connections_opened_total") == 1


async def test_the_process_is_measured(http: ClientSession) -> None:
    async with serving(Metrics()) as server:
        text = await scrape(http, server)
    assert value(text, "process_resident_memory_bytes") > 1e6
    assert value(text, "process_open_fds") > 3


async def test_openmetrics_is_spoken_where_it_is_asked_for(http: ClientSession) -> None:
    async with serving(Metrics()) as server:
        await scrape(http, server)
        plain = await scrape(http, server)
        text = await scrape(http, server, Accept="application/openmetrics-text; version=1.0.0")
    assert _names_in_openmetrics(text) >= {"coatcheck_requests", "coatcheck_hop_bytes"}
    assert "_created" not in plain + text


async def test_measures_are_brought_up_to_date_before_they_are_read() -> None:
    metrics = Metrics()
    gauge = Gauge("things", "Things.", registry=metrics.registry)

    async def refresh() -> None:
        gauge.set(7)

    metrics.before_reading(refresh)
    body, _ = await metrics.read()
    assert value(body.decode(), "things") == 7


def test_a_total_that_began_anew_counts_on() -> None:
    metrics = Metrics()
    counter = Counter("things", "Things.", registry=metrics.registry)
    following = Following(counter)
    for total in (3, 5, 1, 4):
        following.follow(total)
    assert metrics.registry.get_sample_value("things_total") == 5 + 3


@asynccontextmanager
async def sibling(folder: Path, name: str, things: int) -> AsyncGenerator[Metrics]:
    """One of several processes, with a door."""
    siblings = Siblings(folder, name)
    metrics = Metrics(siblings)
    Counter("things", "Things.", ("kind",), registry=metrics.registry).labels("a").inc(things)
    Gauge("room", "Room.", registry=metrics.registry).set(100)
    metrics.share(["room"])
    assert siblings.door is not None
    door, made = listen_unix(siblings.door, mode=0o600)
    server = Server(build_app(metrics.face().private))
    await server.serve([door])
    try:
        yield metrics
    finally:
        await server.stop(0)
        made.remove()


async def test_one_process_answers_for_all_of_them(tmp_path: Path) -> None:
    async with sibling(tmp_path, "1", 2) as first, sibling(tmp_path, "2", 3) as second:
        for asked in (first, second):
            text = (await asked.read())[0].decode()
            assert value(text, "things_total", worker="1", kind="a") == 2
            assert value(text, "things_total", worker="2", kind="a") == 3
            assert value(text, "things_total") == 5
            assert value(text, "room") == 100  # there once, for all of them
            assert text.count("# TYPE things_total") == 1
            assert (
                len({s.labels["worker"] for f in read_text(text) for s in f.samples if s.labels})
                == 2
            )
        openmetrics = (await first.read("application/openmetrics-text; version=1.0.0"))[0]
        assert "things" in _names_in_openmetrics(openmetrics.decode())


async def test_a_process_that_is_gone_is_left_out(tmp_path: Path) -> None:
    async with sibling(tmp_path, "1", 2) as first:
        (tmp_path / "2.door").touch()
        text = (await first.read())[0].decode()
    assert value(text, "things_total") == 2


class Lags:
    """What a measure of the loop told, under a clock that stands unless it is set."""

    def __init__(self) -> None:
        self.told: list[float] = []
        self.now = 0.0
        self._once = asyncio.Event()

    def measure(self, interval_seconds: float) -> LoopLag:
        return LoopLag(self._tell, interval_seconds, elapsed=lambda: self.now)

    async def first(self) -> float:
        async with asyncio.timeout(10):
            await self._once.wait()
        return self.told[0]

    def _tell(self, seconds: float) -> None:
        self.told.append(seconds)
        self._once.set()


async def test_a_stalled_loop_is_late() -> None:
    lags = Lags()
    with lags.measure(0.01):
        lags.now += 0.11  # before the loop has had its turn
        assert await lags.first() == pytest.approx(0.1)


async def test_lag_is_not_measured_any_more_afterwards() -> None:
    left, later = Lags(), Lags()
    with left.measure(0.001):
        pass
    with later.measure(0.002):
        assert await later.first() == 0
    assert left.told == []


@pytest.mark.parametrize("accept", ["", "*/*", "text/plain", "nonsense"])
async def test_any_other_wish_gets_plain_text(accept: str) -> None:
    body, media_type = await Metrics().read(accept)
    assert media_type.startswith("text/plain; version=")
    families: list[Any] = list(read_text(body.decode()))
    assert families
