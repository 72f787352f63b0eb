"""`scrub` and `check`: verify every blob, and say what is wrong with a store."""

from collections.abc import Mapping
from contextlib import closing
from types import MappingProxyType

import click

from coatcheck import api
from coatcheck.protocol import Json, JsonObject

from .errors import UsageError
from .maintenance import Place, place_options
from .output import note, print_counts, print_json, progress_bar, without_kind
from .quantity import parse_size

_WRONG = 1
_COUNTS = (
    ("checked_blobs", "blobs verified"),
    ("checked_bytes", "bytes of them"),
    ("damaged_blobs", "damaged, in quarantine now; an upload heals them"),
    ("unreadable_blobs", "that the disk does not give out"),
    ("reconciled", "files and rows that did not agree"),
    ("rewritten_blobs", "with new checksums"),
)
_RESTART = "restart the server, which makes a new index of what can be read"
_SCRUB = "coatcheck scrub puts it right"
_ADVICE: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "index_damaged": ("places in the index are damaged", _RESTART),
        "prompts_damaged": (
            "places in the kept prompts are damaged",
            "restart the server, which begins them anew",
        ),
        "no_row": ("files that the index knows nothing of", _SCRUB),
        "no_file": ("blobs whose bytes are gone", f"{_SCRUB}: they are uploaded again"),
        "other_size": ("blobs whose files have another size", _SCRUB),
        "not_aside": ("damaged files that are not in quarantine", _SCRUB),
        "foreign_file": ("files among the blobs that are none", "take them away"),
        "live_without_grant": ("blobs that nobody holds and that do not go", _SCRUB),
        "condemned_with_grant": ("blobs that somebody holds and that would go", _SCRUB),
        "grant_without_hold": ("grants that nothing keeps", _SCRUB),
        "no_reference": ("rows that name what is not there", _RESTART),
        "wrong_sum": ("sums that are not what the rows add up to", _SCRUB),
    }
)


@click.command()
@place_options
@click.option("--rate", help="Bytes per second at most, such as 50MB. [default: no bound]")
@click.option("--restart", is_flag=True, help="Begin anew, though a pass was begun.")
@click.option(
    "--rotate-seed", is_flag=True, help="Make all checksums anew, with a new seed. Begins anew."
)
def scrub(
    place: Place, *, rate: str | None, restart: bool, rotate_seed: bool, as_json: bool
) -> None:
    """Verify every blob against its digest, from where the last pass stopped.

    A server does it by itself, once in scrub_days. Exits with 1 when something was wrong. Works on the
    data folder, or asks the server that has it.
    """
    request = api.ScrubRequest(
        bytes_per_second=_bytes_per_second(rate), restart=restart, rotate_seed=rotate_seed
    )
    done: JsonObject = {}
    with (
        progress_bar("scrub", is_wanted=not as_json) as progress,
        closing(place.run(api.SCRUB, request)) as lines,
    ):
        for done in lines:
            progress(_number(done, "checked_bytes"), _number(done, "total_bytes"))
    if as_json:
        print_json(without_kind(done))
    else:
        print_counts(done, _COUNTS)
    if any(_number(done, name) for name in ("damaged_blobs", "unreadable_blobs", "reconciled")):
        raise click.exceptions.Exit(_WRONG)


@click.command()
@place_options
def check(place: Place, *, as_json: bool) -> None:
    """Say what is wrong with a store, and change nothing. Exits with 1 when something is.

    Looks at both databases, at what rows have to agree on, and at files against rows; at bytes looks
    `scrub`. Works on the data folder, or asks the server that has it.
    """
    done: JsonObject = {}
    with (
        progress_bar("check", is_wanted=not as_json) as progress,
        closing(place.run(api.CHECK, api.CheckRequest())) as lines,
    ):
        for done in lines:
            share = done.get("share")
            progress(int(share * 256) if isinstance(share, float) else 0, 256)
    findings = done["findings"]
    assert isinstance(findings, list)
    if as_json:
        print_json({"findings": findings})
    else:
        for finding in findings:
            _print_finding(finding)
    if findings:
        raise click.exceptions.Exit(_WRONG)
    if not as_json:
        note("nothing is wrong; `coatcheck scrub` looks at the bytes")


def _print_finding(finding: Json) -> None:
    assert isinstance(finding, dict)
    what, advice = _ADVICE[str(finding["kind"])]
    click.echo(f"{_number(finding, 'count'):>10,}  {what}: {advice}")
    examples = finding["examples"]
    assert isinstance(examples, list)
    for example in examples:
        click.echo(f"            {example}")


def _bytes_per_second(rate: str | None) -> int | None:
    if rate is None:
        return None
    size = parse_size(rate.strip().lower().removesuffix("/s").removesuffix("b"))
    if size < api.MIN_SCRUB_RATE:
        raise UsageError(f"--rate is at least {api.MIN_SCRUB_RATE // 1024}k bytes a second")
    return size


def _number(line: JsonObject, name: str) -> int:
    value = line.get(name, 0)
    assert isinstance(value, int)
    return value
