"""The edge: a daemon beside the client, which speaks refs and envelopes to another one for it."""

from .edge import Edge
from .nothing import NoBlobs, NoPrompts
from .remote_face import RemoteFace

__all__ = ["Edge", "NoBlobs", "NoPrompts", "RemoteFace"]
