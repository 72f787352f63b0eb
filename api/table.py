"""The store's route table, and what it contributes to pages that a process has once."""

from collections.abc import Sequence
from dataclasses import replace

from coatcheck.protocol import (
    BLOB_PATH,
    EXPIRES_PARAMETER,
    PROBLEM_TYPE,
    SIGNATURE_PARAMETER,
    BlobEntry,
    BlobPage,
    Descriptor,
    MissingAnswer,
    MissingRequest,
    Released,
)
from coatcheck.store import Store, StoreError, StoreFullError
from coatcheck.web import (
    BLOB_CONDITIONS,
    END_USER_FIELD,
    Answer,
    Face,
    Operation,
    Parameter,
    ReadinessCheck,
    Route,
)

from .admin import AdminHandlers, admin_sections
from .anthropic_files import AnthropicFiles
from .blobs import BlobHandlers
from .config import ApiConfig
from .elsewhere import Elsewhere, Nowhere
from .erase import ERASE
from .errors import translating
from .files import FilesFront, files_routes
from .gemini_files import GeminiFiles
from .gemini_routes import gemini_routes
from .gemini_uploads import GeminiUploads
from .keys import key_routes
from .maintenance import maintenance_routes
from .models import StatsAnswer
from .openai_files import OpenAIFiles
from .openai_routes import upload_routes
from .openai_uploads import OpenAIUploads
from .prompts import PromptHandlers, prompt_routes
from .resolve import resolve_routes
from .responses import ResponseHandlers, response_routes
from .signed_urls import SignedUrlHandlers, signed_url_route
from .tus_routes import tus_routes
from .work import work_route

_BLOBS = BLOB_PATH.rstrip("/")
_BLOB = f"{BLOB_PATH}{{digest}}"
_ANY_TYPE = ("*/*", "multipart/form-data")
_UPLOAD_FIELDS = (
    Parameter("Repr-Digest", "SHA-256 of the blob (RFC 9530); compared", "header"),
    Parameter("Content-Digest", "SHA-256 of the body (RFC 9530); compared", "header"),
    Parameter("Expect", "`100-continue`: wait to be asked for the body", "header"),
    END_USER_FIELD,
)
_READ_FIELDS = (
    *BLOB_CONDITIONS,
    Parameter(SIGNATURE_PARAMETER, "of a signed URL, in place of a key"),
    Parameter(EXPIRES_PARAMETER, "of a signed URL"),
)
_PAGING = (
    Parameter("limit", "blobs in the page", schema={"type": "integer", "minimum": 1}),
    Parameter("cursor", "`next_cursor` of the page before"),
)


def routes(
    store: Store, config: ApiConfig | None = None, elsewhere: Elsewhere | None = None
) -> Sequence[Route]:
    """Return the store's routes."""
    config = config or ApiConfig()
    elsewhere = elsewhere or Nowhere()
    gemini = GeminiFiles(store, elsewhere)
    fronts: list[FilesFront] = [
        OpenAIFiles(store, elsewhere),
        AnthropicFiles(store, elsewhere),
        gemini,
    ]
    table = [
        *_upload_routes(BlobHandlers(store, config)),
        *_read_routes(BlobHandlers(store, config)),
        *_hold_routes(BlobHandlers(store, config)),
        signed_url_route(SignedUrlHandlers(store, config)),
        *tus_routes(store),
        *files_routes(fronts, elsewhere),
        *upload_routes(OpenAIUploads(store, config, elsewhere)),
        *gemini_routes(gemini, GeminiUploads(store, elsewhere)),
        *resolve_routes(store, config),
        *prompt_routes(PromptHandlers(store, config)),
        *response_routes(ResponseHandlers(store)),
        *key_routes(store.keys, config),
        *_admin_routes(AdminHandlers(store, config)),
        *maintenance_routes(store),
        work_route(store, ERASE),
    ]
    return [replace(route, handler=translating(route.handler)) for route in table]


def face(store: Store, config: ApiConfig | None = None, elsewhere: Elsewhere | None = None) -> Face:
    """Return the routes with the store's admin sections and its readiness check.

    What is not for this store goes `elsewhere`; without, it is refused.
    """
    config = config or ApiConfig()
    return Face(
        routes=routes(store, config, elsewhere),
        sections=admin_sections(store, config),
        checks=[readiness(store)],
    )


def readiness(store: Store) -> ReadinessCheck:
    """Return the check that the index, the prompts and the disk can be used.

    A full disk counts as ready: all but uploads works, and taking the server out of its balancer
    would end that too. Uploads say 507 themselves.
    """

    async def check() -> str | None:
        try:
            await store.check()
        except StoreFullError:
            return None
        except StoreError as error:
            return str(error)
        return None

    return ReadinessCheck("store", check)


def _upload_routes(blobs: BlobHandlers) -> list[Route]:
    answers = {201: Answer("the blob's descriptor", Descriptor)}
    return [
        Route(
            "POST",
            _BLOBS,
            blobs.post,
            Operation(
                "Hand in a blob",
                "blobs",
                answers,
                body=_ANY_TYPE,
                parameters=_UPLOAD_FIELDS,
                description="A raw body, or the one file of a form. Problems: `body_empty`, "
                "`body_incomplete`, `blob_too_large`, `digest_mismatch`, "
                "`digest_algorithm_unsupported`, `expectation_failed`, `store_full`.",
            ),
            scope="write",
        ),
        Route(
            "PUT",
            _BLOB,
            blobs.put,
            Operation(
                "Hand in the blob with this digest",
                "blobs",
                answers,
                body=_ANY_TYPE,
                parameters=_UPLOAD_FIELDS,
                description="Other bytes are answered 422 `digest_mismatch`, and not kept.",
            ),
            scope="write",
        ),
        Route(
            "POST",
            f"{BLOB_PATH}missing",
            blobs.missing,
            Operation(
                "Say which blobs have to be handed in",
                "blobs",
                {200: Answer("those that are missing", MissingAnswer)},
                body=MissingRequest,
                parameters=[END_USER_FIELD],
                description="Renews the leases of the others; for an end user, they count as handed "
                "in for them too.",
            ),
            scope="read",
        ),
    ]


def _read_routes(blobs: BlobHandlers) -> list[Route]:
    answers = {
        200: Answer("the bytes", "*/*"),
        206: Answer("the ranges asked for", "*/*"),
        304: Answer("the client has them"),
        412: Answer("`precondition_failed`: `If-Match` names another blob", PROBLEM_TYPE),
        416: Answer("`range_not_satisfiable`: no byte of any range is there", PROBLEM_TYPE),
    }
    return [
        Route(
            "GET",
            _BLOB,
            blobs.get,
            Operation("Get a blob", "blobs", answers, None, _READ_FIELDS),
            scope="read",
            capability=SIGNATURE_PARAMETER,
        ),
        Route(
            "HEAD",
            _BLOB,
            blobs.get,
            Operation(
                "Say what GET would",
                "blobs",
                {status: Answer(answer.description) for status, answer in answers.items()},
                None,
                _READ_FIELDS,
            ),
            scope="read",
            capability=SIGNATURE_PARAMETER,
        ),
        Route(
            "GET",
            _BLOBS,
            blobs.list,
            Operation(
                "List blobs, newest first",
                "blobs",
                {200: Answer("a page", BlobPage)},
                parameters=_PAGING,
            ),
            scope="read",
        ),
    ]


def _hold_routes(blobs: BlobHandlers) -> list[Route]:
    entry = {200: Answer("the blob as it is held now", BlobEntry)}
    return [
        Route(
            "DELETE",
            _BLOB,
            blobs.delete,
            Operation(
                "Drop the lease and the pin",
                "blobs",
                {200: Answer("what still holds it", Released)},
            ),
            scope="write",
        ),
        Route(
            "PUT",
            f"{_BLOB}/pin",
            blobs.pin,
            Operation("Keep a blob", "blobs", entry),
            scope="write",
        ),
        Route(
            "DELETE",
            f"{_BLOB}/pin",
            blobs.unpin,
            Operation("Let the lease decide again", "blobs", entry),
            scope="write",
        ),
    ]


def _admin_routes(admin: AdminHandlers) -> list[Route]:
    return [
        Route(
            "GET",
            "/admin/api/blobs",
            admin.blobs,
            Operation("List blobs", "admin", {200: Answer("a page", BlobPage)}, parameters=_PAGING),
            scope="admin",
        ),
        Route(
            "GET",
            "/admin/blobs/{digest}/picture",
            admin.picture,
            Operation(
                "Show a blob on the page",
                "admin",
                {200: Answer("the bytes; renews no lease", "*/*")},
            ),
            scope="admin",
        ),
        Route(
            "GET",
            "/admin/api/stats",
            admin.stats,
            Operation("Count", "admin", {200: Answer("the store's numbers", StatsAnswer)}),
            scope="admin",
        ),
    ]
