"""Keeps bytes: each blob once, for every tenant that holds it, and the prompts that name them."""

from .backend import Backend, BlobFile, Measured, Spool
from .body_spool import BodySpool, BodySpools
from .check import Check, CheckProgress
from .config import Quotas, StoreConfig
from .consistency import Finding, FindingKind
from .counts import StoreCounts
from .database import Database
from .disk_backend import DiskBackend, blob_folder
from .erase import Erased, Erasure, Left
from .errors import (
    BlobNotFoundError,
    BlobTooLargeError,
    CorruptBlobError,
    DamagedDatabaseError,
    DigestMismatchError,
    EmptyBlobError,
    FolderInUseError,
    ImageRefusal,
    ImageRefusedError,
    ImageWorkerCrashedError,
    ImageWorkerLostError,
    ImageWorkersBusyError,
    InvalidCursorError,
    KeyNotFoundError,
    PromptNotFoundError,
    PromptTooLargeError,
    QuotaExceededError,
    SchemaError,
    ScrubRunningError,
    SectionNotFoundError,
    SignatureExpiredError,
    SignatureInvalidError,
    SizeMismatchError,
    StoreClosedError,
    StoredFileNotFoundError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    TooManySectionsError,
    TooManyUploadsError,
    UploadFinishedError,
    UploadIncompleteError,
    UploadLengthError,
    UploadLockedError,
    UploadLostError,
    UploadNotFoundError,
    UploadOffsetError,
    UploadTooLongError,
)
from .files import Files, StoredFile
from .grant import Grant, Hold, Missing, Page, Receipt, StoreStats
from .images import (
    Glance,
    ImageWorkerConfig,
    ImageWorkers,
    Variant,
    VariantSpec,
    VariantType,
)
from .key_table import KeyInfo
from .keys import Keys, NewKey, has_index, open_keys
from .maintenance import Maintenance, MaintenanceConfig
from .memory_backend import MemoryBackend
from .piece_buffers import PieceBuffers
from .prompt_row import PromptMessage
from .prompts import Prompts
from .reader import BlobReader
from .reconcile import Disagreement, Reconcile, ReconcileProgress
from .recovery import Recovery
from .responses import KeptResponse, Responses
from .schema import BlobState, HoldKind
from .scrub import Scrub, ScrubProgress
from .sections import MAX_SECTIONS, Sections
from .shared_folder import SharedFolder
from .signed_urls import Signed, SignedUrls
from .store import Store
from .sweep import Sweep, Swept
from .upload import NewUpload, Upload
from .uploads import Uploads
from .verdict import Verdict

__all__ = [
    "MAX_SECTIONS",
    "Backend",
    "BlobFile",
    "BlobNotFoundError",
    "BlobReader",
    "BlobState",
    "BlobTooLargeError",
    "BodySpool",
    "BodySpools",
    "Check",
    "CheckProgress",
    "CorruptBlobError",
    "DamagedDatabaseError",
    "Database",
    "DigestMismatchError",
    "Disagreement",
    "DiskBackend",
    "EmptyBlobError",
    "Erased",
    "Erasure",
    "Files",
    "Finding",
    "FindingKind",
    "FolderInUseError",
    "Glance",
    "Grant",
    "Hold",
    "HoldKind",
    "ImageRefusal",
    "ImageRefusedError",
    "ImageWorkerConfig",
    "ImageWorkerCrashedError",
    "ImageWorkerLostError",
    "ImageWorkers",
    "ImageWorkersBusyError",
    "InvalidCursorError",
    "KeptResponse",
    "KeyInfo",
    "KeyNotFoundError",
    "Keys",
    "Left",
    "Maintenance",
    "MaintenanceConfig",
    "Measured",
    "MemoryBackend",
    "Missing",
    "NewKey",
    "NewUpload",
    "Page",
    "PieceBuffers",
    "PromptMessage",
    "PromptNotFoundError",
    "PromptTooLargeError",
    "Prompts",
    "QuotaExceededError",
    "Quotas",
    "Receipt",
    "Reconcile",
    "ReconcileProgress",
    "Recovery",
    "Responses",
    "SchemaError",
    "Scrub",
    "ScrubProgress",
    "ScrubRunningError",
    "SectionNotFoundError",
    "Sections",
    "SharedFolder",
    "SignatureExpiredError",
    "SignatureInvalidError",
    "Signed",
    "SignedUrls",
    "SizeMismatchError",
    "Spool",
    "Store",
    "StoreClosedError",
    "StoreConfig",
    "StoreCounts",
    "StoreError",
    "StoreFullError",
    "StoreStats",
    "StoreUnavailableError",
    "StoredFile",
    "StoredFileNotFoundError",
    "Sweep",
    "Swept",
    "TooManySectionsError",
    "TooManyUploadsError",
    "Upload",
    "UploadFinishedError",
    "UploadIncompleteError",
    "UploadLengthError",
    "UploadLockedError",
    "UploadLostError",
    "UploadNotFoundError",
    "UploadOffsetError",
    "UploadTooLongError",
    "Uploads",
    "Variant",
    "VariantSpec",
    "VariantType",
    "Verdict",
    "blob_folder",
    "has_index",
    "open_keys",
]
