"""HTTP manners that both faces share: server, bodies, problems, trust, health, pages."""

from .admin import AdminSection
from .app import build_app
from .balance import BALANCE_BYTES, BALANCE_SLOTS, Balance
from .blob_answer import BLOB_CONDITIONS, select_bytes, send_blob
from .body import body_chunks, expects_continue, read_body, require_identity
from .conditions import Selection
from .connection import Connection, connection_of
from .connections import RequestMeter, Traffic
from .credential import Credential, credential_of
from .edge import Gate
from .end_user import END_USER_FIELD, end_user_of
from .errors import (
    AddressError,
    BrokenAnswerError,
    NotLoopbackError,
    NotStartedError,
    ProblemError,
    WebError,
    refuse,
)
from .face import Face, join_faces
from .form import FormFile, RelatedFile, is_form
from .health import ReadinessCheck
from .heavy import in_thread_if
from .http_meter import SECONDS_BUCKETS, Following
from .inflate import Inflater, codings_of, inflate, inflate_head, parse_codings
from .json_answer import as_model, json_response, read_model
from .keyring import (
    Keyring,
    OpenKeyring,
    Principal,
    is_known,
    principal_of,
    require_scope,
    tenant_of,
)
from .limits import Limits
from .listening import BoundAddress, Listening, UnixAddress, listen, listen_unix
from .loop_lag import LoopLag
from .metrics import Metrics
from .openapi import openapi_document
from .origin import FORWARDED_HOST, FORWARDED_PROTO, client_origin
from .paging import read_limit
from .passed_answer import PassedAnswer
from .presentation import BlobFacts, name_suffix
from .problems import problem_response, retry_headers
from .provider_answer import provider_of, provider_refusal, refusal_status, upload_refusal
from .rewindable import RewindableBody, read_purpose
from .route import (
    ANY_METHOD,
    Answer,
    Handler,
    Operation,
    Parameter,
    ProblemRenderer,
    Route,
    join_routes,
)
from .runner import Server
from .siblings import Siblings
from .template import Templates
from .trust import LoopbackGuard, is_loopback_authority, is_loopback_host
from .upload import Upload, declared_type, least_upload_bytes, open_upload, promised_digest
from .whole_body import read_whole

__all__ = [
    "ANY_METHOD",
    "BALANCE_BYTES",
    "BALANCE_SLOTS",
    "BLOB_CONDITIONS",
    "END_USER_FIELD",
    "FORWARDED_HOST",
    "FORWARDED_PROTO",
    "SECONDS_BUCKETS",
    "AddressError",
    "AdminSection",
    "Answer",
    "Balance",
    "BlobFacts",
    "BoundAddress",
    "BrokenAnswerError",
    "Connection",
    "Credential",
    "Face",
    "Following",
    "FormFile",
    "Gate",
    "Handler",
    "Inflater",
    "Keyring",
    "Limits",
    "Listening",
    "LoopLag",
    "LoopbackGuard",
    "Metrics",
    "NotLoopbackError",
    "NotStartedError",
    "OpenKeyring",
    "Operation",
    "Parameter",
    "PassedAnswer",
    "Principal",
    "ProblemError",
    "ProblemRenderer",
    "ReadinessCheck",
    "RelatedFile",
    "RequestMeter",
    "RewindableBody",
    "Route",
    "Selection",
    "Server",
    "Siblings",
    "Templates",
    "Traffic",
    "UnixAddress",
    "Upload",
    "WebError",
    "as_model",
    "body_chunks",
    "build_app",
    "client_origin",
    "codings_of",
    "connection_of",
    "credential_of",
    "declared_type",
    "end_user_of",
    "expects_continue",
    "in_thread_if",
    "inflate",
    "inflate_head",
    "is_form",
    "is_known",
    "is_loopback_authority",
    "is_loopback_host",
    "join_faces",
    "join_routes",
    "json_response",
    "least_upload_bytes",
    "listen",
    "listen_unix",
    "name_suffix",
    "open_upload",
    "openapi_document",
    "parse_codings",
    "principal_of",
    "problem_response",
    "promised_digest",
    "provider_of",
    "provider_refusal",
    "read_body",
    "read_limit",
    "read_model",
    "read_purpose",
    "read_whole",
    "refusal_status",
    "refuse",
    "require_identity",
    "require_scope",
    "retry_headers",
    "select_bytes",
    "send_blob",
    "tenant_of",
    "upload_refusal",
]
