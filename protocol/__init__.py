"""What travels: digests, refs, pointers, descriptors, prompts, events, dialects.

Sans-IO: values and bytes go in, values and bytes come out. No sockets, files, clocks or tasks.
"""

from .attachment import (
    Found,
    FoundFileId,
    FoundInline,
    FoundPointer,
    FoundRef,
    Path,
    Slot,
    dotted,
    inline_ref,
)
from .buffer import Buffer
from .checksum import CHECKSUM_BYTES, PIECE_BYTES, Hasher, piece_checksum, piece_count
from .descriptor import Descriptor
from .dialect import Dialect
from .dialects import DIALECTS, dialect
from .digest import Digest
from .envelope import ENVELOPE_KEY, KEEP, PROMPT_HEADER, Envelope, read_envelope
from .errors import (
    EnvelopeError,
    InvalidDigestError,
    InvalidFieldDigestError,
    InvalidMediaTypeError,
    InvalidRefError,
    JsonError,
    MalformedMessageError,
    MalformedRequestError,
    PointerInvalidError,
    PromptDigestError,
    ProtocolError,
    SseError,
    UnknownDialectError,
)
from .json_value import MAX_DEPTH, Json, JsonObject, copy_json, decode_json, encode_json
from .key import (
    ALL_SCOPES,
    DEFAULT_TENANT,
    KEY_HEADER,
    KEY_PREFIX,
    TENANT_HEADER,
    Key,
    Scope,
    holds_key,
    is_tenant,
    parse_key,
)
from .key_answer import KEYS_VERIFY_PATH, KeyAnswer, KeyQuestion
from .listing import (
    MAX_DIGESTS,
    BlobEntry,
    BlobPage,
    HoldEntry,
    MissingAnswer,
    MissingRequest,
    Released,
)
from .media_type import OCTET_STREAM, parse_media_type
from .model_peek import peek_model
from .pointer import MAX_POINTER_BYTES, Pointer, parse_pointer
from .problem import PROBLEM_TYPE, Problem
from .prompt import canonical_json, prompt_digests, prompt_root, prompt_step
from .provider import Provider
from .providers import SPEAKERS, meant_provider, speaker
from .ref import BLOB_PATH, Ref, is_file_id, looks_like_ref, parse_blob_url, parse_ref
from .ref_form import InlineBlob, RefForm, ref_form
from .repr_digest import format_digest_field, parse_digest_field
from .resolving import (
    PROMPT_PATH,
    RESOLVE_PATH,
    MissingName,
    PromptAnswer,
    PromptAppend,
    PromptStep,
    ResolveAnswer,
    ResolvedBlob,
    ResolveRequest,
)
from .sniff import SNIFF_BYTES, ImageSize, image_size, sniff
from .sse import SseEvent, SseReader, event_end, write_comment, write_event

__all__ = [
    "ALL_SCOPES",
    "BLOB_PATH",
    "CHECKSUM_BYTES",
    "DEFAULT_TENANT",
    "DIALECTS",
    "ENVELOPE_KEY",
    "KEEP",
    "KEYS_VERIFY_PATH",
    "KEY_HEADER",
    "KEY_PREFIX",
    "MAX_DEPTH",
    "MAX_DIGESTS",
    "MAX_POINTER_BYTES",
    "OCTET_STREAM",
    "PIECE_BYTES",
    "PROBLEM_TYPE",
    "PROMPT_HEADER",
    "PROMPT_PATH",
    "RESOLVE_PATH",
    "SNIFF_BYTES",
    "SPEAKERS",
    "TENANT_HEADER",
    "BlobEntry",
    "BlobPage",
    "Buffer",
    "Descriptor",
    "Dialect",
    "Digest",
    "Envelope",
    "EnvelopeError",
    "Found",
    "FoundFileId",
    "FoundInline",
    "FoundPointer",
    "FoundRef",
    "Hasher",
    "HoldEntry",
    "ImageSize",
    "InlineBlob",
    "InvalidDigestError",
    "InvalidFieldDigestError",
    "InvalidMediaTypeError",
    "InvalidRefError",
    "Json",
    "JsonError",
    "JsonObject",
    "Key",
    "KeyAnswer",
    "KeyQuestion",
    "MalformedMessageError",
    "MalformedRequestError",
    "MissingAnswer",
    "MissingName",
    "MissingRequest",
    "Path",
    "Pointer",
    "PointerInvalidError",
    "Problem",
    "PromptAnswer",
    "PromptAppend",
    "PromptDigestError",
    "PromptStep",
    "ProtocolError",
    "Provider",
    "Ref",
    "RefForm",
    "Released",
    "ResolveAnswer",
    "ResolveRequest",
    "ResolvedBlob",
    "Scope",
    "Slot",
    "SseError",
    "SseEvent",
    "SseReader",
    "UnknownDialectError",
    "canonical_json",
    "copy_json",
    "decode_json",
    "dialect",
    "dotted",
    "encode_json",
    "event_end",
    "format_digest_field",
    "holds_key",
    "image_size",
    "inline_ref",
    "is_file_id",
    "is_tenant",
    "looks_like_ref",
    "meant_provider",
    "parse_blob_url",
    "parse_digest_field",
    "parse_key",
    "parse_media_type",
    "parse_pointer",
    "parse_ref",
    "peek_model",
    "piece_checksum",
    "piece_count",
    "prompt_digests",
    "prompt_root",
    "prompt_step",
    "read_envelope",
    "ref_form",
    "sniff",
    "speaker",
    "write_comment",
    "write_event",
]
