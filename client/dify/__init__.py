"""For Dify: what stands inside its plugins, and in its API."""

from . import hook
from .composing import mark_prompts, unmark_prompts
from .environment import find_environments
from .file_refs import FileRefs
from .file_runtime import RefFileRuntime
from .placement import HookConfig, Placement, State, place, take_away

__all__ = [
    "FileRefs",
    "HookConfig",
    "Placement",
    "RefFileRuntime",
    "State",
    "find_environments",
    "hook",
    "mark_prompts",
    "place",
    "take_away",
    "unmark_prompts",
]
