"""The daemon: resolves refs beside the model, and forwards what came to an upstream."""

from .cache import CacheConfig, CacheError
from .daemon import Daemon, DaemonConfig
from .embedded import EmbeddedBlobs, EmbeddedPrompts
from .errors import DaemonError, ObservationsUnreadableError
from .gateway import GatewayConfig
from .meters import Meters, NoMeters
from .observation import NoObserver, Observed, Observer
from .observation_report import ObservedSum, read_observations
from .observations import FILE_NAME as OBSERVATIONS_FILE
from .observations import ObservationLimits
from .observed_figures import Figures, Terms
from .observer import ObserverConfig, RecordingObserver
from .remote_store import RemoteConfig, RemoteStore
from .source import BlobSource, KeptMessage, PieceReader, PromptSource, Resolved
from .turn import TurnLimits
from .upstream import ECHO, Timeouts, UpstreamConfig

__all__ = [
    "ECHO",
    "OBSERVATIONS_FILE",
    "BlobSource",
    "CacheConfig",
    "CacheError",
    "Daemon",
    "DaemonConfig",
    "DaemonError",
    "EmbeddedBlobs",
    "EmbeddedPrompts",
    "Figures",
    "GatewayConfig",
    "KeptMessage",
    "Meters",
    "NoMeters",
    "NoObserver",
    "ObservationLimits",
    "ObservationsUnreadableError",
    "Observed",
    "ObservedSum",
    "Observer",
    "ObserverConfig",
    "PieceReader",
    "PromptSource",
    "RecordingObserver",
    "RemoteConfig",
    "RemoteStore",
    "Resolved",
    "Terms",
    "Timeouts",
    "TurnLimits",
    "UpstreamConfig",
    "read_observations",
]
