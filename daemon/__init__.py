"""The daemon: resolves refs beside the model, and forwards what came to an upstream."""

from .cache import CacheConfig, CacheError, DiskCache, copies_folder
from .daemon import Daemon, DaemonConfig
from .edge import NoBlobs, NoPrompts, RemoteFace
from .embedded import EmbeddedBlobs, EmbeddedPrompts
from .errors import DaemonError, ObservationsUnreadableError
from .gateway import GatewayConfig
from .headers import check_extra_headers
from .history import EmbeddedResponses, NamedResponse, ResponseSource
from .inventory import Inventory
from .links import BlobLinks, EmbeddedLinks
from .meters import (
    AnswerOutcome,
    FieldOutcome,
    Meters,
    NoMeters,
    PromptOutcome,
    ReplicaChoice,
    ResolveStep,
    ResponseOutcome,
    ReuseOutcome,
    VariantOutcome,
)
from .observation import NoObserver, Observed, Observer
from .observation_report import ObservedSum, read_observations
from .observations import FILE_NAME as OBSERVATIONS_FILE
from .observations import ObservationLimits
from .observed_figures import Figures, Terms
from .observer import ObserverConfig, RecordingObserver
from .parsed_request import TurnLimits
from .remote_config import RemoteConfig
from .remote_store import RemoteStore
from .reuse import LEDGER_FILE, Ledger
from .source import BlobSource, KeptMessage, PieceReader, PromptSource, Resolved
from .upstream import ECHO, FileAccess, Reuse, Timeouts, UpstreamConfig
from .variants import ImagePolicy, VariantShelf

__all__ = [
    "ECHO",
    "LEDGER_FILE",
    "OBSERVATIONS_FILE",
    "AnswerOutcome",
    "BlobLinks",
    "BlobSource",
    "CacheConfig",
    "CacheError",
    "Daemon",
    "DaemonConfig",
    "DaemonError",
    "DiskCache",
    "EmbeddedBlobs",
    "EmbeddedLinks",
    "EmbeddedPrompts",
    "EmbeddedResponses",
    "FieldOutcome",
    "Figures",
    "FileAccess",
    "GatewayConfig",
    "ImagePolicy",
    "Inventory",
    "KeptMessage",
    "Ledger",
    "Meters",
    "NamedResponse",
    "NoBlobs",
    "NoMeters",
    "NoObserver",
    "NoPrompts",
    "ObservationLimits",
    "ObservationsUnreadableError",
    "Observed",
    "ObservedSum",
    "Observer",
    "ObserverConfig",
    "PieceReader",
    "PromptOutcome",
    "PromptSource",
    "RecordingObserver",
    "RemoteConfig",
    "RemoteFace",
    "RemoteStore",
    "ReplicaChoice",
    "ResolveStep",
    "Resolved",
    "ResponseOutcome",
    "ResponseSource",
    "Reuse",
    "ReuseOutcome",
    "Terms",
    "Timeouts",
    "TurnLimits",
    "UpstreamConfig",
    "VariantOutcome",
    "VariantShelf",
    "check_extra_headers",
    "copies_folder",
    "read_observations",
]
