"""`/metrics` of real servers: what it says is what the page of metrics says, and true."""

import asyncio
import io
import random
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml
from PIL import Image
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from coatcheck.client import Client
from coatcheck.protocol import Digest
from coatcheck.store import open_keys

from .deployment import run_daemon

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system


def _picture() -> bytes:
    """Return a PNG of some 120 kB."""
    file = io.BytesIO()
    pixels = random.Random(1).randbytes(3 * 200 * 200)
    Image.frombytes("RGB", (200, 200), pixels).save(file, "PNG")
    return file.getvalue()


PAGE = (Path(__file__).resolve().parents[2] / "docs/metrics.md").read_text("utf-8")
DATA = _picture()
_ROW = re.compile(r"^\| `([a-z_]+)` \| (\w+) \|([^|]*)\|", re.MULTILINE)


def documented() -> dict[str, tuple[str, set[str]]]:
    """Return type and labels of each metric on the page."""
    return {
        name: (kind, set(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in _ROW.findall(PAGE)
    }


def scrape(url: str, key: str | None = None) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    answer = urllib3.request("GET", f"{url}/metrics", headers=headers)
    return answer.status, answer.data.decode()


def families(text: str) -> dict[str, Metric]:
    """Return what was measured, by the names that a scraper stores."""
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: family
        for family in text_string_to_metric_families(text)
    }


def value(text: str, name: str, **labels: str) -> float:
    """Return the sum of the samples with this name and these labels."""
    return sum(
        sample.value
        for family in families(text).values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def use(url: str) -> None:
    """Do what makes numbers: upload, talk about it, fail."""
    with Client(url) as client:
        ref = client.put(DATA).ref
        part = {"type": "image_url", "image_url": {"url": ref}}
        question = {"role": "user", "content": [{"type": "text", "text": "What is it?"}, part]}
        asking = {"Coatcheck-Prefix": "1"}
        look = {"type": "function", "function": {"name": "look", "description": "See. " * 200}}
        answer = client.chat(model="echo", messages=[question], tools=[look], extra_headers=asking)
        again = {"role": "user", "content": "Sure?"}
        client.chat(model="echo", messages=[question, answer.message, again])
        assert client.get(ref) == DATA
    other = urllib3.request("PUT", f"{url}/v1/blobs/{Digest.of(b'this')}", body=b"that")
    assert other.status == 422


def check_format(text: str) -> None:
    """Let Prometheus' own tool judge, where it is installed; its parser has read the text before."""
    if tool := shutil.which("promtool"):
        done = subprocess.run(
            [tool, "check", "metrics"], input=text.encode(), capture_output=True, check=False
        )
        assert done.returncode != 1, done.stderr.decode()  # 3: remarks on style


async def test_the_page_and_the_servers_name_the_same_metrics(
    serve: Fixture, tmp_path: Path
) -> None:
    served = serve()
    await asyncio.to_thread(use, served.url)
    _, store_text = await asyncio.to_thread(scrape, served.url)
    async with run_daemon(tmp_path, served.url, None) as daemon:
        await asyncio.to_thread(use, daemon.url)
        _, daemon_text = await asyncio.to_thread(scrape, daemon.url)
    check_format(store_text)
    check_format(daemon_text)
    found = families(store_text) | families(daemon_text)
    page = documented()
    assert set(found) == set(page)
    assert {name: family.type for name, family in found.items()} == {
        name: kind for name, (kind, _) in page.items()
    }
    for text in (store_text, daemon_text):
        for name, family in families(text).items():
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            assert labels <= page[name][1], name
    every = {name for name, family in found.items() if family.samples}
    # Of upstreams at several addresses, or whose history is ours: there is none here.
    assert set(page) - every == {"coatcheck_replica_requests_total", "coatcheck_responses_total"}
    check_store(store_text)
    check_daemon(daemon_text)


def check_store(text: str) -> None:
    assert value(text, "coatcheck_requests_total", route="/v1/chat/completions", status="200") == 2
    assert value(text, "coatcheck_requests_total", route="/v1/blobs/{digest}", method="PUT") == 2
    assert value(text, "coatcheck_blobs_received_total") == 1
    assert value(text, "coatcheck_blob_bytes_received_total") == len(DATA)
    assert value(text, "coatcheck_blob_bytes") == len(DATA)
    assert value(text, "coatcheck_verification_failures_total", place="upload") == 1
    assert value(text, "coatcheck_verification_failures_total", place="store") == 0
    assert value(text, "coatcheck_prompts_total", outcome="kept") == 4  # and answers
    assert value(text, "coatcheck_answers_total", outcome="kept") == 2
    assert value(text, "coatcheck_fields_total", outcome="kept") == 1
    assert value(text, "coatcheck_prefixes_total", upstream="echo", outcome="new") == 1
    assert value(text, "coatcheck_cache_misses_total") == 1
    assert value(text, "coatcheck_cache_hits_total") == 1
    assert value(text, "coatcheck_resolve_seconds_count", step="grants") == 2
    assert value(text, "coatcheck_upstream_requests_total", upstream="echo", outcome="200") == 2
    saved = value(text, "coatcheck_saved_bytes_total")
    assert saved == pytest.approx(2 * 4 / 3 * len(DATA), abs=500)  # two turns, as base64
    assert value(text, "coatcheck_hop_bytes_total", hop="upstream", direction="out") > saved
    assert value(text, "coatcheck_hop_bytes_total", hop="client", direction="in") < 2 * len(DATA)
    assert value(text, "coatcheck_disk_free_bytes") > 0
    assert value(text, "coatcheck_observations_total", outcome="taken") == 2


def check_daemon(text: str) -> None:
    assert value(text, "coatcheck_cache_misses_total") == 1
    assert value(text, "coatcheck_cache_hits_total") >= 1
    assert value(text, "coatcheck_cache_bytes") == len(DATA)
    assert value(text, "coatcheck_cache_limit_bytes") == 10 * 1024**3
    assert value(text, "coatcheck_hop_bytes_total", hop="store", direction="in") >= len(DATA)
    assert value(text, "coatcheck_hop_bytes_total", hop="store", direction="out") > 0


def test_workers_answer_for_each_other(serve: Fixture) -> None:
    served = serve("workers = 2\nlog_level = 'warning'\n")
    for _ in range(20):
        urllib3.request("GET", f"{served.url}/healthz")  # each on a connection of its own
    status, text = scrape(served.url)
    assert status == 200
    check_format(text)
    assert value(text, "coatcheck_requests_total", route="/healthz") == 20
    workers = {
        sample.labels["worker"]
        for sample in families(text)["coatcheck_event_loop_lag_seconds"].samples
    }
    assert len(workers) == 2
    assert len(families(text)["coatcheck_disk_free_bytes"].samples) == 1


async def test_a_scraper_needs_the_scope_admin(serve: Fixture, tmp_path: Path) -> None:
    async with open_keys(tmp_path / "data") as keys:
        admin = await keys.create(tenant=None, scopes={"admin"})
        other = await keys.create(tenant="default", scopes={"read", "gateway"})
    served = serve()
    assert (await asyncio.to_thread(scrape, served.url))[0] == 401
    assert (await asyncio.to_thread(scrape, served.url, other.key.text))[0] == 403
    assert (await asyncio.to_thread(scrape, served.url, admin.key.text))[0] == 200


def test_the_example_is_a_prometheus_configuration(tmp_path: Path) -> None:
    example = PAGE.partition("```yaml\n")[2].partition("```")[0]
    (job,) = yaml.safe_load(example)["scrape_configs"]
    assert job["job_name"] == "coatcheck"
    assert set(job) <= {"job_name", "static_configs", "authorization"}
    if tool := shutil.which("promtool"):
        config = tmp_path / "prometheus.yml"
        config.write_text(example, "utf-8")
        done = subprocess.run(
            [tool, "check", "config", "--syntax-only", config], capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
