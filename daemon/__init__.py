"""The daemon: resolves refs beside the model, and forwards what came to an upstream."""

from .daemon import Daemon, DaemonConfig
from .embedded import EmbeddedBlobs, EmbeddedPrompts
from .errors import DaemonError
from .gateway import GatewayConfig
from .source import BlobSource, KeptMessage, PieceReader, PromptSource, Resolved
from .turn import TurnLimits
from .upstream import ECHO, Timeouts, UpstreamConfig

__all__ = [
    "ECHO",
    "BlobSource",
    "Daemon",
    "DaemonConfig",
    "DaemonError",
    "EmbeddedBlobs",
    "EmbeddedPrompts",
    "GatewayConfig",
    "KeptMessage",
    "PieceReader",
    "PromptSource",
    "Resolved",
    "Timeouts",
    "TurnLimits",
    "UpstreamConfig",
]
