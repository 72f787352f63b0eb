import io
import json

from bench.finding import Finding
from bench.report import findings_json, print_findings
from rich.console import Console

KEPT = Finding("one image, time", 1.1, 1.1, "x", "5.0 ms, bare proxy 4.5 ms")
MISSED = Finding("15 images, memory", 8.01, 8.0, "MB", "idle 40 MB")


def test_a_limit_is_kept_up_to_the_limit_itself() -> None:
    assert KEPT.is_kept
    assert not MISSED.is_kept


def test_the_table_marks_what_is_over() -> None:
    file = io.StringIO()
    print_findings([KEPT, MISSED], Console(file=file, width=120))
    kept, missed = (
        next(line for line in file.getvalue().splitlines() if finding.name in line)
        for finding in (KEPT, MISSED)
    )
    assert " ok " in kept
    assert " OVER " in missed
    assert "idle 40 MB" in missed


def test_the_json_form_has_every_finding() -> None:
    kept, missed = json.loads(json.dumps(findings_json([KEPT, MISSED])))
    assert (kept["kept"], missed["kept"]) == (True, False)
    assert missed["value"] == 8.01
