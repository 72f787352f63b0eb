"""`sweep`: remove what nothing holds any more, or say what would go and why."""

import click

from coatcheck import api
from coatcheck.protocol import Json, JsonObject

from .maintenance import Place, place_options
from .output import print_counts, print_json, without_kind

_COUNTS = (
    ("removed_blobs", "blobs removed"),
    ("removed_bytes", "bytes of them"),
    ("ended_grants", "grants ended"),
    ("removed_prompts", "kept messages removed"),
    ("removed_quarantined", "damaged files removed"),
    ("removed_uploads", "unfinished uploads removed"),
)


@click.command()
@place_options
@click.option("--dry-run", is_flag=True, help="Say of each grant and blob why it stays or goes.")
def sweep(place: Place, *, dry_run: bool, as_json: bool) -> None:
    """Remove what nothing holds any more. A server does it by itself, once a minute.

    Works on the data folder, or asks the server that has it.
    """
    verdicts: list[Json] = []
    done: JsonObject = {}
    for line in place.run(api.SWEEP, api.SweepRequest(dry_run=dry_run)):
        if line["kind"] == "done":
            done = line
        elif as_json:
            verdicts.append(without_kind(line))
        else:
            click.echo(_verdict(line))
    counts = without_kind(done)
    if as_json:
        print_json({"verdicts": verdicts, **counts} if dry_run else counts)
    elif dry_run:
        click.echo(
            f"{done['grants_going']} of {done['grants']} grants and {done['blobs_going']} of "
            f"{done['blobs']} blobs go, {done['bytes_going']:,} bytes"
        )
    else:
        print_counts(done, _COUNTS)


def _verdict(line: JsonObject) -> str:
    mark = "goes " if line["goes"] else "stays"
    whose = f"  {line['tenant']}" if "tenant" in line else ""
    return f"{mark}  {line['of']:<5}  {line['digest']}{whose}  {line['reason']}"
