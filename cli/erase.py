"""`erase`: remove all that there is of a tenant or of one of its end users, and look if it is gone."""

import click

from coatcheck import api
from coatcheck.protocol import InvalidEndUserError, JsonObject, is_tenant, parse_end_user

from .errors import MaintenanceError, UsageError
from .maintenance import Place, place_options
from .output import note, print_counts, print_json, without_kind

_COUNTS = (
    ("ended_grants", "grants ended"),
    ("kept_grants", "grants kept, for others"),
    ("removed_blobs", "blobs removed"),
    ("removed_bytes", "bytes of them"),
    ("removed_prompts", "kept messages removed"),
    ("removed_uploads", "unfinished uploads removed"),
)


@click.command()
@place_options
@click.option("--tenant", required=True, help="Whose data goes.")
@click.option("--end-user", help="Only what the tenant stored for this one.")
@click.option("--yes", is_flag=True, help="Do it; it cannot be undone.")
@click.option(
    "--no-rewrite",
    is_flag=True,
    help="Do not rewrite the databases: faster, and fragments stay in their files.",
)
def erase(
    place: Place,
    *,
    tenant: str,
    end_user: str | None,
    yes: bool,
    no_rewrite: bool,
    as_json: bool,
) -> None:
    """Erase a tenant, or one of its end users, at once.

    Works on the data folder, or asks the server that has it. Keys, backups and the caches of daemons
    stay; the manual says what to do about them. After a failure, run it again.
    """
    request = _request(tenant, end_user, rewrite=not no_rewrite)
    if not yes:
        whom = f"end user {end_user!r} of tenant {tenant!r}" if end_user else f"tenant {tenant!r}"
        raise UsageError(f"this erases all of {whom} for good; say --yes to do it")
    done: JsonObject = {}
    for line in place.run(api.ERASE, request):
        done = line
    counts = without_kind(done)
    if as_json:
        print_json(counts)
    else:
        print_counts(done, _COUNTS)
    _tell_what_is_left(done, tenant)


def _request(tenant: str, end_user: str | None, *, rewrite: bool) -> api.EraseRequest:
    if not is_tenant(tenant):
        raise UsageError(f"no tenant can be called {tenant!r}")
    try:
        named = None if end_user is None else parse_end_user(end_user)
    except InvalidEndUserError as error:
        raise UsageError(str(error)) from error
    return api.EraseRequest(tenant=tenant, end_user=named, rewrite=rewrite)


def _tell_what_is_left(done: JsonObject, tenant: str) -> None:
    left = done["left"]
    assert isinstance(left, dict)
    if left["keys"]:
        note(f"{left['keys']} keys of {tenant} are still valid: coatcheck keys revoke")
    if not done["verified"]:
        raise MaintenanceError(
            f"not all is gone: {left['rows']} rows, {left['files']} files, and {left['databases']} "
            "databases that may hold fragments; run it again"
        )
