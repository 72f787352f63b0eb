"""The findings as a table for people and as JSON for programs."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from .finding import Finding

_METHOD = (
    "Wall time: from the first byte sent to the last received, by one client on a kept-alive "
    "connection. CPU: the kernel's clock of the server process, its threads and children. Memory: "
    "VmHWM after writing 5 to clear_refs, over VmRSS at that moment, in a fresh process after one "
    "small turn. Medians of interleaved rounds."
)


def print_findings(findings: Sequence[Finding], console: Console) -> None:
    """Print one line for each finding, and how they were taken."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("measure")
    table.add_column("value", justify="right")
    table.add_column("limit", justify="right")
    table.add_column("")
    table.add_column("from")
    for finding in findings:
        mark = "[green]ok[/green]" if finding.is_kept else "[bold red]OVER[/bold red]"
        value, limit = (f"{amount:.2f} {finding.unit}" for amount in (finding.value, finding.limit))
        table.add_row(finding.name, value, limit, mark, finding.compared)
    console.print(table)
    console.print(_METHOD, highlight=False)


def findings_json(findings: Sequence[Finding]) -> list[dict[str, object]]:
    """The findings as JSON objects, in order."""
    return [
        {
            "name": finding.name,
            "value": round(finding.value, 4),
            "limit": finding.limit,
            "unit": finding.unit,
            "kept": finding.is_kept,
            "compared": finding.compared,
        }
        for finding in findings
    ]
