"""The growth bench fills a store and asks it what it says it asks."""

from pathlib import Path

from bench.growth import measure_growth


def test_every_question_is_measured(tmp_path: Path) -> None:
    said: list[str] = []
    found = list(measure_growth(tmp_path, said.append, sizes=(8_000, 16_000)))
    assert len(said) == 2
    assert [finding.name for finding in found] == [
        "growth: missing of 1,000 digests",
        "growth: a page of 100 blobs",
        "growth: a sweep that finds nothing",
        "growth: start",
        "growth: memory",
    ]
    assert all(finding.value > 0 for finding in found[:-1])
    assert list(tmp_path.iterdir()) == []
