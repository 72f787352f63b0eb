import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from coatcheck.cli.demo_report import DemoReport, TurnFigures, Way, print_report, report_json

FIGURES = (
    TurnFigures(Way.ENVELOPE, 1, 7_801_000, 900, 3.25, 200),
    TurnFigures(Way.ENVELOPE, 2, 640, 900, 0.05, 200),
    TurnFigures(Way.INLINE, 2, 10_402_000, 900, 4.2, 413),
    TurnFigures(Way.INLINE, 1, 10_401_000, 900, 4.2, 413),
    TurnFigures(Way.REFS, 1, 7_801_000, 900, 3.25, 200),
    TurnFigures(Way.REFS, 2, 1_234, 900, 0.05, 200),
)


REPORT = DemoReport(
    uplink_bits_per_second=20e6,
    round_trip_seconds=0.04,
    body_limit_bytes=1024 * 1024,
    image_bytes=(2_600_000, 2_600_000, 2_600_000),
    figures=FIGURES,
    seen=("a [bold]hill[/bold]", "a lake", "a road"),
    answers_agree=True,
)


def printed(subject: DemoReport, *, width: int = 100, encoding: str = "utf-8") -> str:
    sink = io.BytesIO()
    with io.TextIOWrapper(sink, encoding=encoding) as file:
        print_report(subject, Console(file=file, width=width))
        file.flush()
        return sink.getvalue().decode(encoding)


def test_the_turns_of_a_way_come_in_order() -> None:
    assert [figures.turn for figures in REPORT.of(Way.INLINE)] == [1, 2]


def test_the_table_shows_every_turn_of_every_way_and_marks_the_refused_ones() -> None:
    lines = printed(REPORT).splitlines()
    second = next(line for line in lines if line.lstrip().startswith("2 ") and "kB" in line)
    assert second.split() == [
        *("2", "10.4", "MB", "900", "B", "4.20", "s", "413"),
        *("1.23", "kB", "900", "B", "0.05", "s"),
        *("640", "B", "900", "B", "0.05", "s"),
    ]
    total = next(line for line in lines if line.lstrip().startswith("all "))
    assert total.split()[:3] == ["all", "20.8", "MB"]


def test_bars_are_as_long_as_their_share() -> None:
    lines = [line for line in printed(REPORT).splitlines() if "█" in line or "▏" in line]
    assert [line.count("█") for line in lines[:6]] == [56, 42, 42, 56, 0, 0]
    assert "▏" in lines[5]


def test_bars_without_unicode_round_to_whole_columns() -> None:
    lines = [line for line in printed(REPORT, encoding="ascii").splitlines() if "#" in line]
    assert [line.count("#") for line in lines[:6]] == [56, 42, 42, 56, 1, 1]


def test_nothing_is_wider_than_100_columns() -> None:
    assert max(len(line.rstrip()) for line in printed(REPORT).splitlines()) <= 100


def test_a_terminal_without_unicode_gets_plain_text() -> None:
    text = printed(REPORT, encoding="ascii")
    assert "#" * 56 in text
    assert "\x1b" not in text


def test_what_the_model_said_is_shown_as_it_is() -> None:
    assert "a [bold]hill[/bold]" in printed(REPORT)


def test_different_answers_are_said_aloud() -> None:
    assert "NOT the same" in printed(replace(REPORT, answers_agree=False))


def test_a_turn_without_text_shows_no_time() -> None:
    figures = tuple(TurnFigures(way, 1, 100, 100, None, 200) for way in Way)
    assert " - " in printed(replace(REPORT, figures=figures))


def test_the_json_form_has_figures_totals_and_ratios() -> None:
    document = json.loads(json.dumps(report_json(REPORT)))
    assert document["turns"][0] == {
        "way": "envelope",
        "turn": 1,
        "bytes_up": 7_801_000,
        "bytes_down": 900,
        "first_token_seconds": 3.25,
        "status": 200,
    }
    assert document["images"][1] == {"bytes": 2_600_000, "seen": "a lake"}
    envelope = document["totals"]["envelope"]
    assert envelope["bytes_up"] == 7_801_640
    assert envelope["bytes_up_of_images"] == pytest.approx(1.00021, abs=1e-5)
    assert envelope["bytes_up_of_inline"] == pytest.approx(7_801_640 / 20_803_000, abs=1e-5)
    assert document["totals"]["inline"]["refused_turns"] == [1, 2]
