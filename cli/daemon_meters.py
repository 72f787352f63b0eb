"""The daemon's measures, as Prometheus' instruments."""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar, get_args

from prometheus_client import Counter, Histogram

from coatcheck import daemon, web
from coatcheck.protocol import PrefixOutcome

__all__ = ["DaemonMeters"]

_Instrument = TypeVar("_Instrument", Counter, Histogram)
_MAX_LABELS = 256  # that are remembered; more are looked up each time


class DaemonMeters:
    """`daemon.Meters` of Prometheus' instruments."""

    def __init__(self, metrics: web.Metrics) -> None:
        self._resolve = _seconds(
            metrics,
            "coatcheck_resolve_seconds",
            "Time to resolve one turn's digests: grants, who holds what; bytes, to have them here.",
            "step",
        )
        self._first_byte = _seconds(
            metrics,
            "coatcheck_upstream_first_byte_seconds",
            "Time from a request to an upstream to the headers of its answer.",
            "upstream",
        )
        self._whole = _seconds(
            metrics,
            "coatcheck_upstream_seconds",
            "Time from a request to an upstream to the end of its answer.",
            "upstream",
        )
        answers = _count(
            metrics,
            "coatcheck_upstream_requests_total",
            "Requests to an upstream, by the status that it answered or the error's code.",
            *("upstream", "outcome"),
        )
        self._answered = _remembered(answers)
        self._replicas = _count(
            metrics,
            "coatcheck_replica_requests_total",
            "Requests that one of several base_urls took, by its place among them, and why it did.",
            *("upstream", "replica", "choice"),
        )
        self._hop_bytes = metrics.http.hop_bytes
        self._hops: dict[tuple[str, str], Counter] = {}  # to look one up costs more than to count
        self._saved = _count(
            metrics,
            "coatcheck_saved_bytes_total",
            "Bytes that clients did not send, since refs and envelopes stood for them.",
        )
        self._uploads = _count(
            metrics,
            "coatcheck_edge_uploads_total",
            "Blobs that an edge uploaded to its remote for turns.",
        )
        self._upload_bytes = _count(
            metrics, "coatcheck_edge_upload_bytes_total", "Bytes that an edge sent for that."
        )
        self._replays = _count(
            metrics,
            "coatcheck_edge_replays_total",
            "Turns that an edge sent again, for something that its remote did not have any more.",
        )
        self._variants = _count(
            metrics,
            "coatcheck_image_variants_total",
            "Images that met an upstream's policy: variants found or made, originals kept, or sent "
            "since making one failed.",
            "outcome",
        )
        for outcome in get_args(daemon.VariantOutcome):
            self._variants.labels(outcome)  # there from the start: what is not there has no rate
        self._making = Histogram(
            "coatcheck_image_variant_seconds",
            "Time to make a variant: waiting for a worker, decoding, scaling, encoding, keeping.",
            buckets=web.SECONDS_BUCKETS,
            registry=metrics.registry,
        )
        self._reused = _count(
            metrics,
            "coatcheck_reuse_total",
            "Blobs that met an upstream's reuse mode: names found, bytes uploaded, or sent inline "
            "since that failed; and turns that recovered from a refusal.",
            *("mode", "outcome"),
        )
        self._spared = _count(
            metrics,
            "coatcheck_reuse_spared_bytes_total",
            "Bytes of blobs that upstreams did not get again, since a name stood for them.",
            "mode",
        )
        for mode in get_args(daemon.Reuse):
            if mode != "inline":
                self._spared.labels(mode)
                for reused in get_args(daemon.ReuseOutcome):
                    self._reused.labels(mode, reused)
        self._prompts = _count(
            metrics,
            "coatcheck_prompts_total",
            "Prompts that were kept, refused (not to be kept), or asked for and not_found.",
            "outcome",
        )
        self._kept_answers = _count(
            metrics,
            "coatcheck_answers_total",
            "Answers to kept prompts that were kept with them, or refused (not to be kept in time).",
            "outcome",
        )
        self._fields = _count(
            metrics,
            "coatcheck_fields_total",
            "Large values of requests that were kept, refused (not to be kept), or named by their "
            "digest and found or not_found.",
            "outcome",
        )
        self._responses = _count(
            metrics,
            "coatcheck_responses_total",
            "Responses that were kept by their ids, refused (not to be kept), or named by them and "
            "found or not_found.",
            "outcome",
        )
        self._prefixes = _count(
            metrics,
            "coatcheck_prefixes_total",
            "Turns that were compared with the one before them in their conversation: its prefix was "
            "kept, or broken; new where none was known.",
            *("upstream", "outcome"),
        )
        observations = _count(
            metrics,
            "coatcheck_observations_total",
            "Requests told to the observer: taken, or dropped for lack of room.",
            "outcome",
        )
        self._observed = _remembered(observations)

    def resolved(self, step: daemon.ResolveStep, seconds: float) -> None:
        """See `daemon.Meters`."""
        self._resolve(step).observe(seconds)

    def first_byte(self, upstream: str, seconds: float) -> None:
        """See `daemon.Meters`."""
        self._first_byte(upstream).observe(seconds)

    def replica(self, upstream: str, index: int, choice: daemon.ReplicaChoice) -> None:
        """See `daemon.Meters`."""
        self._replicas.labels(upstream, str(index), choice).inc()

    def answered(self, upstream: str, outcome: str, seconds: float) -> None:
        """See `daemon.Meters`."""
        self._answered(upstream, outcome).inc()
        self._whole(upstream).observe(seconds)

    def upstream_bytes(self, *, sent: int = 0, received: int = 0) -> None:
        """See `daemon.Meters`."""
        self._carried("upstream", sent, received)

    def store_bytes(self, *, sent: int = 0, received: int = 0) -> None:
        """See `daemon.Meters`."""
        self._carried("store", sent, received)

    def saved(self, size: int) -> None:
        """See `daemon.Meters`."""
        self._saved.inc(size)

    def edge(self, uploads: int, upload_bytes: int, replays: int) -> None:
        """See `daemon.Meters`."""
        self._uploads.inc(uploads)
        self._upload_bytes.inc(upload_bytes)
        self._replays.inc(replays)

    def variant(self, outcome: daemon.VariantOutcome, seconds: float = 0.0) -> None:
        """See `daemon.Meters`."""
        self._variants.labels(outcome).inc()
        if outcome == "made":
            self._making.observe(seconds)

    def reused(self, mode: str, outcome: daemon.ReuseOutcome, spared: int = 0) -> None:
        """See `daemon.Meters`."""
        self._reused.labels(mode, outcome).inc()
        if spared:
            self._spared.labels(mode).inc(spared)

    def prompt(self, outcome: daemon.PromptOutcome) -> None:
        """See `daemon.Meters`."""
        self._prompts.labels(outcome).inc()

    def answer(self, outcome: daemon.AnswerOutcome) -> None:
        """See `daemon.Meters`."""
        self._kept_answers.labels(outcome).inc()

    def field(self, outcome: daemon.FieldOutcome) -> None:
        """See `daemon.Meters`."""
        self._fields.labels(outcome).inc()

    def response(self, outcome: daemon.ResponseOutcome) -> None:
        """See `daemon.Meters`."""
        self._responses.labels(outcome).inc()

    def prefix(self, upstream: str, outcome: PrefixOutcome) -> None:
        """See `daemon.Meters`."""
        self._prefixes.labels(upstream, outcome).inc()

    def observed(self, *, is_dropped: bool) -> None:
        """See `daemon.Meters`."""
        self._observed("dropped" if is_dropped else "taken").inc()

    def _carried(self, hop: str, sent: int, received: int) -> None:
        for way, count in (("out", sent), ("in", received)):
            if count:
                counter = self._hops.get((hop, way))
                if counter is None:
                    counter = self._hops[hop, way] = self._hop_bytes.labels(hop, way)
                counter.inc(count)


def _remembered(instrument: _Instrument) -> Callable[..., _Instrument]:
    """Return what finds an instrument by its labels: `labels` takes longer than to count."""
    return lru_cache(_MAX_LABELS)(instrument.labels)


def _seconds(metrics: web.Metrics, name: str, text: str, label: str) -> Callable[..., Histogram]:
    return _remembered(
        Histogram(name, text, (label,), buckets=web.SECONDS_BUCKETS, registry=metrics.registry)
    )


def _count(metrics: web.Metrics, name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=metrics.registry)
