"""The demo on a fast link with small pictures: real servers, real sockets."""

import asyncio
from pathlib import Path

import pytest

from coatcheck.cli.demo_report import DemoReport, Way
from coatcheck.cli.demo_run import DemoPlan, Picture, run_demo
from coatcheck.cli.photograph import photograph

PICTURES = tuple(Picture(photograph(seed, 60_000), "image/jpeg") for seed in (1, 2))
PLAN = DemoPlan(
    pictures=PICTURES,
    turns=3,
    uplink_bits_per_second=400e6,
    round_trip_seconds=0.002,
    body_limit_bytes=100_000,
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> DemoReport:
    said: list[str] = []
    folder: Path = tmp_path_factory.mktemp("demo")
    report = asyncio.run(run_demo(PLAN, folder, said.append))
    assert sum("turn" in line for line in said) == 3 * PLAN.turns
    return report


def test_inline_sends_every_image_on_every_turn_and_meets_the_limit(report: DemoReport) -> None:
    images = sum(report.image_bytes)
    assert report.bytes_up(Way.INLINE) > PLAN.turns * images * 4 / 3
    assert [figures.status for figures in report.of(Way.INLINE)] == [413] * PLAN.turns


@pytest.mark.parametrize("way", [Way.REFS, Way.ENVELOPE])
def test_refs_send_every_image_once_and_pass_the_limit(report: DemoReport, way: Way) -> None:
    assert report.bytes_up(way) <= 1.01 * sum(report.image_bytes) + 15_000
    assert [figures.status for figures in report.of(way)] == [200] * PLAN.turns


def test_the_envelope_sends_what_is_new_and_no_more(report: DemoReport) -> None:
    later = [figures.bytes_up for figures in report.of(Way.ENVELOPE)[1:]]
    assert max(later) - min(later) < 100
    assert max(later) < 1500


def test_no_image_comes_back(report: DemoReport) -> None:
    for way in Way:
        assert report.bytes_down(way) < min(report.image_bytes)


def test_every_way_hears_the_same_about_the_same_images(report: DemoReport) -> None:
    assert report.answers_agree
    for picture, seen in zip(PICTURES, report.seen, strict=True):
        assert "JPEG" in seen
        assert f"{len(picture.data)} bytes" in seen


def test_every_turn_has_a_time_to_its_first_token(report: DemoReport) -> None:
    assert all((figures.first_token_seconds or 0) > 0.002 for figures in report.figures)
