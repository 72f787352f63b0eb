"""The bench of long conversations fills a store and asks it what it says it asks."""

from pathlib import Path

from bench.prompts import measure_prompts


def test_every_question_is_measured(tmp_path: Path) -> None:
    said: list[str] = []
    found = list(
        measure_prompts(tmp_path, said.append, sizes=(100, 400), turns=(100, 200), length=300)
    )
    assert len(said) == 3
    names = [finding.name for finding in found]
    assert names[:2] == [
        "prompts: expanding 300 messages",
        "prompts: expanding 300 messages: CPU, as the store grows",
    ]
    assert names[-1] == "prompts: a turn's work for each message, as they grow"
    assert len(names) == 7
    assert all(finding.value > 0 for finding in found)
    assert list(tmp_path.iterdir()) == []
