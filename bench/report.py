"""The findings as a table for people and as JSON for programs."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from .finding import Finding, Unmeasured

_METHOD = (
    "Wall time: from the first byte sent to the last received, by one client on a kept-alive "
    "connection. CPU: the kernel's clock of the server process, its threads and children. Memory: "
    "VmHWM after writing 5 to clear_refs, over VmRSS at that moment, in a fresh process after one "
    "small turn. Neighbours: requests a second over four kept-alive connections, on one "
    "file system, request logs off; nginx and docker-registry as Debian has them, "
    "nginx with a worker for each core. Coatcheck hashes and syncs each upload and verifies each "
    "download; nginx does neither; the registry hashes, and syncs the file alone. Medians of "
    "interleaved rounds."
)


def print_findings(findings: Sequence[Finding | Unmeasured], console: Console) -> None:
    """Print one line for each finding, and how they were taken."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("measure")
    table.add_column("value", justify="right")
    table.add_column("limit", justify="right")
    table.add_column("")
    table.add_column("from")
    for finding in findings:
        table.add_row(*_row(finding))
    console.print(table)
    console.print(_METHOD, highlight=False)


def findings_json(findings: Sequence[Finding | Unmeasured]) -> list[dict[str, object]]:
    """The findings as JSON objects, in order."""
    return [_json(finding) for finding in findings]


def _row(finding: Finding | Unmeasured) -> tuple[str, str, str, str, str]:
    if isinstance(finding, Unmeasured):
        return finding.name, "-", "-", "[bold red]?[/bold red]", finding.why
    value = f"{finding.value:.2f} {finding.unit}"
    if finding.limit is None:
        return finding.name, value, "-", "", finding.compared
    missed = "UNDER" if finding.at_least else "OVER"
    mark = "[green]ok[/green]" if finding.is_kept else f"[bold red]{missed}[/bold red]"
    limit = f"{finding.limit:.2f} {finding.unit}"
    bound = "≥" if finding.at_least else "≤"
    return finding.name, value, f"{bound} {limit}", mark, finding.compared


def _json(finding: Finding | Unmeasured) -> dict[str, object]:
    if isinstance(finding, Unmeasured):
        return {"name": finding.name, "kept": False, "unmeasured": finding.why}
    return {
        "name": finding.name,
        "value": round(finding.value, 4),
        "limit": finding.limit,
        "at_least": finding.at_least,
        "unit": finding.unit,
        "kept": finding.is_kept,
        "compared": finding.compared,
    }
