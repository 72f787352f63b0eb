"""For Dify: a hook inside its plugins and where it is placed, and refs in its API (`file_runtime`)."""

from . import plugin_hook
from .environment import find_environments
from .placement import HookConfig, Placement, State, place, take_away

__all__ = [
    "HookConfig",
    "Placement",
    "State",
    "find_environments",
    "place",
    "plugin_hook",
    "take_away",
]
