"""Measures of requests, connections and the event loop.

Routes are told by their template, never by a path that a client wrote.
"""

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from .connections import Traffic
from .route import UNMATCHED

SECONDS_BUCKETS = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    60,
    300,
)
"""From a blob out of the page cache to a model that thinks for minutes."""
_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Following:
    """A counter that follows a total counted elsewhere."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._total = 0.0

    def follow(self, total: float) -> None:
        """Count up to a total; one that is lower than before counts nothing."""
        self._counter.inc(max(0.0, total - self._total))
        self._total = total


class HttpMeter:
    """A `RequestMeter` of Prometheus' instruments."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "coatcheck_requests_total",
            "Requests that were answered, broken off (status broken) or left by the client (gone).",
            ("route", "method", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "coatcheck_request_seconds",
            "Time from a request's header to the end of its answer.",
            ("route", "method"),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self.hop_bytes = Counter(
            "coatcheck_hop_bytes_total",
            "Bytes carried. Of clients all that their sockets carried, headers included; of upstreams "
            "and the store the bodies.",
            ("hop", "direction"),
            registry=registry,
        )
        """Bytes by hop (`client`, `upstream`, `store`) and direction (`in`, `out`), as we see it."""
        self._client_in = Following(self.hop_bytes.labels("client", "in"))
        self._client_out = Following(self.hop_bytes.labels("client", "out"))
        self._live = Gauge(
            "coatcheck_connections", "Connections of clients that are open.", registry=registry
        )
        self._opened = Following(
            Counter(
                "coatcheck_connections_opened_total",
                "Connections that clients opened.",
                registry=registry,
            )
        )
        self._lag = Histogram(
            "coatcheck_event_loop_lag_seconds",
            "How late the event loop woke something that had asked for a time.",
            buckets=_LAG_BUCKETS,
            registry=registry,
        )

        # What has these labels; looking them up costs as much as counting ten times.
        self._found: dict[tuple[str, str, int | str], tuple[Counter, Histogram]] = {}

    def finished(self, request: web.BaseRequest | None, outcome: int | str, seconds: float) -> None:
        """Count a request; see `RequestMeter.finished`."""
        route, method = _route_of(request), request.method if request is not None else ""
        method = method if method in _METHODS else "other"
        labels = (route, method, outcome)
        found = self._found.get(labels)
        if found is None:
            found = (
                self._requests.labels(route, method, str(outcome)),
                self._seconds.labels(route, method),
            )
            self._found[labels] = found
        count, duration = found
        count.inc()
        duration.observe(seconds)

    def carried(self, traffic: Traffic) -> None:
        """Note what a server's sockets carried since it started."""
        self._client_in.follow(traffic.bytes_in)
        self._client_out.follow(traffic.bytes_out)
        self._opened.follow(traffic.connections)
        self._live.set(traffic.live)

    def lagged(self, seconds: float) -> None:
        """Note how late the event loop was."""
        self._lag.observe(seconds)


def _route_of(request: web.BaseRequest | None) -> str:
    if not isinstance(request, web.Request):
        return "malformed"
    resource = request.match_info.route.resource
    if resource is None or resource.name == UNMATCHED:
        return UNMATCHED
    return resource.canonical
