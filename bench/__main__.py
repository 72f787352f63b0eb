"""`python -m bench`: measure, print, and with --check say by the exit code what was missed."""

import json
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console

from .agent import ProgramError, ServiceError
from .caller import UnexpectedAnswerError
from .dify import IMAGE_BYTES, Size
from .report import findings_json, print_findings
from .run import PARTS, run_bench
from .server_process import ServerStartError


@click.command()
@click.option("--rounds", default=20, show_default=True, type=click.IntRange(1, 1000))
@click.option("--part", type=click.Choice(PARTS), help="Measure this alone.")
@click.option(
    "--dify-image-bytes",
    default=IMAGE_BYTES,
    show_default=True,
    type=click.IntRange(1000),
    help="Of each of the 30 images in Dify's chat, which take 8 GB of memory at their default.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option("--check", is_flag=True, help="Exit with 1 when a limit is missed or not measured.")
def main(rounds: int, part: str | None, dify_image_bytes: int, as_json: bool, check: bool) -> None:
    """Measure Coatcheck beside a bare proxy and its neighbours, and its memory, on this machine."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    progress = Console(stderr=True)
    try:
        with tempfile.TemporaryDirectory(prefix="coatcheck-bench-") as folder:
            size = Size(image_bytes=dify_image_bytes)
            findings = list(run_bench(Path(folder), rounds, progress.print, part, size))
    except (ServerStartError, UnexpectedAnswerError, ProgramError, ServiceError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(findings_json(findings), indent=2))
    else:
        print_findings(findings, console)
    if check and not all(finding.is_kept for finding in findings):
        sys.exit(1)


if __name__ == "__main__":
    main()
