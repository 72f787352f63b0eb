"""`/metrics`: what a process measures, for Prometheus, and what its siblings do beside it.

Where several processes serve together, whichever is asked answers for all of them. Each series then
carries the label `worker`: sums over processes that come and go would fall, and a counter that falls
is read as one that began anew. What all of them would say alike, such as the room on a disk, is
there once, without the label.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeAlias

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from .face import Face
from .http_meter import HttpMeter
from .route import Answer, Operation, Route
from .siblings import Siblings

PATH = "/metrics"
_TEXT = "text/plain"
_WORKER = "worker"

Refresh: TypeAlias = Callable[[], Awaitable[None]]
"""Brings numbers up to date that are counted elsewhere. It does not raise."""


class Metrics:
    """The measures of one process. Whoever measures adds its instruments to `registry`."""

    def __init__(self, siblings: Siblings | None = None) -> None:
        self.registry = CollectorRegistry()
        """Where instruments belong. Their labels have few values, none of which clients choose."""
        self.http = HttpMeter(self.registry)
        """The measures of requests and connections."""
        self._siblings = siblings or Siblings()
        self._refreshes: list[Refresh] = []
        self._shared: set[str] = set()
        ProcessCollector(registry=self.registry)

    def before_reading(self, refresh: Refresh) -> None:
        """Call something before each time that the measures are read."""
        self._refreshes.append(refresh)

    def share(self, names: Iterable[str]) -> None:
        """Say which metrics every process of this server would give alike."""
        self._shared.update(names)

    async def read(self, accept: str = "") -> tuple[bytes, str]:
        """Return the measures of this process and its siblings, and their media type.

        `accept` is a request's header: OpenMetrics, or Prometheus' own text.
        """
        others = await self._siblings.ask(PATH)
        await self._refresh()
        encode, media_type = choose_encoder(accept)
        return await asyncio.to_thread(self._encoded, encode, others), media_type

    def face(self) -> Face:
        """Return the route for scrapers, and the private one for siblings."""

        async def serve(request: web.Request) -> web.StreamResponse:
            body, media_type = await self.read(request.headers.get("Accept", ""))
            return web.Response(body=body, headers={"Content-Type": media_type})

        async def serve_own(request: web.Request) -> web.StreamResponse:
            await self._refresh()
            return web.Response(body=await asyncio.to_thread(self._encoded, generate_latest, ()))

        operation = Operation(
            "Measure, for Prometheus", "health", {200: Answer("the measures", _TEXT)}
        )
        return Face(
            routes=[Route("GET", PATH, serve, operation, scope="admin")],
            private=[Route("GET", PATH, serve_own, scope=None)],
        )

    async def _refresh(self) -> None:
        await asyncio.gather(*(refresh() for refresh in self._refreshes))

    def _encoded(self, encode: Callable[[Collector], bytes], others: Sequence[bytes]) -> bytes:
        own = self.registry.collect()
        if self._siblings.door is not None:
            own = (self._labelled(family) for family in own)
        families = {family.name: family for family in map(_without_creation, own)}
        for text in others:
            for family in text_string_to_metric_families(text.decode()):
                if family.name not in families:
                    families[family.name] = family
                elif family.name not in self._shared:
                    families[family.name].samples.extend(family.samples)
        return encode(_Families(list(families.values())))

    def _labelled(self, family: Metric) -> Metric:
        if family.name in self._shared:
            return family
        label = {_WORKER: self._siblings.name}
        return _with_samples(
            family,
            [Sample(item.name, label | item.labels, item.value) for item in family.samples],
        )


class _Families(Collector):
    """Families at hand, as the encoders want them."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _without_creation(family: Metric) -> Metric:
    """Leave out the times at which series began: they double the text, and few read them."""
    samples = [item for item in family.samples if not item.name.endswith("_created")]
    return _with_samples(family, samples)


def _with_samples(family: Metric, samples: Sequence[Sample]) -> Metric:
    changed = Metric(family.name, family.documentation, family.type, family.unit)
    changed.samples = list(samples)
    return changed
