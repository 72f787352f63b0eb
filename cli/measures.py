"""What counts by itself, read before each scrape: the store, and what the daemon has copies of."""

import asyncio
import logging
import shutil

from prometheus_client import Counter, Gauge

from coatcheck import daemon, store, web

__all__ = ["measure_copies", "measure_store", "measure_uses"]

_log = logging.getLogger("coatcheck")
_ROOM = "coatcheck_disk_free_bytes"


def measure_store(metrics: web.Metrics, blobs: store.Store) -> None:
    """Add the measures of a store, which stays the caller's."""
    _count_passing(metrics, blobs)
    _gauge_held(metrics, blobs)


def _count_passing(metrics: web.Metrics, blobs: store.Store) -> None:
    """Follow what went in and out of the store in this process."""
    received = _following(
        metrics, "coatcheck_blobs_received_total", "Uploads received, of known bytes too."
    )
    received_bytes = _following(
        metrics, "coatcheck_blob_bytes_received_total", "Bytes of the uploads received."
    )
    opened = _following(
        metrics, "coatcheck_blobs_opened_total", "Blobs opened to be read, by clients or for turns."
    )
    removed = _following(
        metrics, "coatcheck_blobs_removed_total", "Blobs that sweeps and erasures removed."
    )
    removed_bytes = _following(
        metrics,
        "coatcheck_blob_bytes_removed_total",
        "Bytes of the blobs that sweeps and erasures removed.",
    )
    failures = _failures(metrics)
    damaged = web.Following(failures.labels("store"))
    mismatched = web.Following(failures.labels("upload"))

    async def refresh() -> None:
        counts = blobs.counts
        received.follow(counts.received_blobs)
        received_bytes.follow(counts.received_bytes)
        opened.follow(counts.opened_blobs)
        removed.follow(counts.removed_blobs)
        removed_bytes.follow(counts.removed_bytes)
        damaged.follow(counts.damaged_blobs + blobs.prompts.damaged_messages)
        mismatched.follow(counts.mismatched_uploads)

    metrics.before_reading(refresh)


def _gauge_held(metrics: web.Metrics, blobs: store.Store) -> None:
    """Ask the store what it holds; while it cannot say, what it said last stands."""
    uploads = _gauge(metrics, "coatcheck_uploads", "Uploads in progress.")
    held = _shared(metrics, "coatcheck_blobs", "Blobs in the store.")
    held_bytes = _shared(metrics, "coatcheck_blob_bytes", "Bytes of the blobs in the store.")
    condemned_bytes = _shared(
        metrics, "coatcheck_condemned_bytes", "Bytes of blobs that nothing holds any more."
    )
    bad = _shared(metrics, "coatcheck_quarantined_blobs", "Blobs in quarantine.")
    prompts = _shared(metrics, "coatcheck_kept_messages", "Messages of kept prompts in the store.")
    room = _shared(metrics, _ROOM, "What uploads, or copies, may still take of the disk.")

    async def refresh() -> None:
        try:
            stats = await blobs.stats()
        except store.StoreError as error:
            _log.warning("the store was not measured: %s", error)
            return
        uploads.set(stats.uploads_in_progress)
        held.set(stats.blobs)
        held_bytes.set(stats.blob_bytes)
        condemned_bytes.set(stats.condemned_bytes)
        bad.set(stats.quarantined_blobs)
        prompts.set(stats.prompts)
        if stats.disk_free_bytes is not None:
            room.set(stats.disk_free_bytes)

    metrics.before_reading(refresh)


def measure_uses(metrics: web.Metrics, uses: daemon.Inventory) -> None:
    """Add how often a turn named what an earlier one had named."""
    hits, misses = _uses(metrics)

    async def refresh() -> None:
        totals = await uses.totals()
        hits.follow(totals.hits)
        misses.follow(totals.misses)

    metrics.before_reading(refresh)


def measure_copies(
    metrics: web.Metrics, cache: daemon.DiskCache, config: daemon.CacheConfig
) -> None:
    """Add the measures of a disk cache, which stays the caller's."""
    hits, misses = _uses(metrics)
    evicted = _following(metrics, "coatcheck_cache_evictions_total", "Copies removed to make room.")
    streamed = _following(
        metrics,
        "coatcheck_cache_streamed_total",
        "Blobs served straight from the store, for there was no room for a copy.",
    )
    failed = web.Following(_failures(metrics).labels("cache"))
    healed = _following(
        metrics,
        "coatcheck_cache_healed_total",
        "Copies that were gone or damaged, replaced from the store.",
    )
    copies = _shared(metrics, "coatcheck_cache_bytes", "Bytes of the copies in the cache.")
    limit = _shared(metrics, "coatcheck_cache_limit_bytes", "What the cache may take of the disk.")
    limit.set(config.max_bytes)
    room = _shared(metrics, _ROOM, "What uploads, or copies, may still take of the disk.")

    async def refresh() -> None:
        counts = cache.counts
        hits.follow(counts.hits)
        misses.follow(counts.misses)
        evicted.follow(counts.evicted_blobs)
        streamed.follow(counts.streamed_blobs)
        failed.follow(counts.verification_failures)
        healed.follow(cache.heals.count)
        try:
            copies.set((await cache.sums()).bytes)
            usage = await asyncio.to_thread(shutil.disk_usage, config.folder)
        except (store.StoreError, OSError) as error:
            _log.warning("the cache was not measured: %s", error)
            return
        room.set(max(0, usage.free - config.min_free_bytes))

    metrics.before_reading(refresh)


def _uses(metrics: web.Metrics) -> tuple[web.Following, web.Following]:
    return (
        _following(metrics, "coatcheck_cache_hits_total", "Blobs of turns that were at hand."),
        _following(metrics, "coatcheck_cache_misses_total", "Blobs of turns that were not yet."),
    )


def _following(metrics: web.Metrics, name: str, text: str) -> web.Following:
    return web.Following(Counter(name, text, registry=metrics.registry))


def _failures(metrics: web.Metrics) -> Counter:
    return Counter(
        "coatcheck_verification_failures_total",
        "Bytes that were not what their name or checksum says: in the store, in the cache or on "
        "their way there, in an upload.",
        ("place",),
        registry=metrics.registry,
    )


def _gauge(metrics: web.Metrics, name: str, text: str) -> Gauge:
    return Gauge(name, text, registry=metrics.registry)


def _shared(metrics: web.Metrics, name: str, text: str) -> Gauge:
    """Return a gauge that every process of the server would give alike."""
    metrics.share([name])
    return _gauge(metrics, name, text)
