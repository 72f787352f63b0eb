"""Conversations that a request continues by naming the response before it, for any upstream."""

from .embedded import EmbeddedResponses
from .history import Continued, History, NamedTurn
from .remote import RemoteResponses
from .routes import HistoryRoutes
from .source import NamedResponse, ResponseSource

__all__ = [
    "Continued",
    "EmbeddedResponses",
    "History",
    "HistoryRoutes",
    "NamedResponse",
    "NamedTurn",
    "RemoteResponses",
    "ResponseSource",
]
