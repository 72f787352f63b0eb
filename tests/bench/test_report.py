import io
import json

from bench.finding import Finding, Unmeasured
from bench.report import findings_json, print_findings
from rich.console import Console

KEPT = Finding("one image, time", 1.1, 1.1, "x", "5.0 ms, bare proxy 4.5 ms")
SLOW = Finding("upload, ours / theirs", 0.69, 0.7, "x", "69/s, nginx 100/s", at_least=True)
UNKNOWN = Unmeasured("beside nginx", "as root: apt-get install nginx-light")
MISSED = Finding("15 images, memory", 8.01, 8.0, "MB", "idle 40 MB")


def test_a_limit_is_kept_up_to_the_limit_itself() -> None:
    assert KEPT.is_kept
    assert not MISSED.is_kept


def test_a_limit_from_below_is_kept_down_to_the_limit_itself() -> None:
    assert not SLOW.is_kept
    assert Finding("", 0.7, 0.7, "x", "", at_least=True).is_kept


def test_what_was_not_measured_is_not_kept_and_says_what_is_missing() -> None:
    file = io.StringIO()
    print_findings([SLOW, UNKNOWN], Console(file=file, width=120))
    slow, unknown = (
        next(line for line in file.getvalue().splitlines() if name in line)
        for name in ("upload", "beside")
    )
    assert " UNDER " in slow
    assert "≥ 0.70 x" in slow
    assert "apt-get install nginx-light" in unknown
    (entry,) = findings_json([UNKNOWN])
    assert entry["kept"] is False
    assert not UNKNOWN.is_kept


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
