"""An agent's run: an application with an official SDK, a scripted model, and every byte counted.

The application is a program in Python or Node that knows nothing of Coatcheck; the model's answers
follow from all that it was sent. Tests use the same parts in smaller forms.
"""

from .hop import Cut, Direction, Hop, hopping
from .model import Reply, fingerprint, reply_to
from .program import (
    Language,
    Program,
    ProgramError,
    Told,
    node_command,
    python_command,
    running_program,
)
from .screenshots import save_screenshots, screenshot, total_bytes
from .script import Role, Step, agent_script
from .speech import DIALECTS, MODEL, stream, whole
from .tools import instructions, tools
from .upstream import PATHS, Provider, providing

__all__ = [
    "DIALECTS",
    "MODEL",
    "PATHS",
    "Cut",
    "Direction",
    "Hop",
    "Language",
    "Program",
    "ProgramError",
    "Provider",
    "Reply",
    "Role",
    "Step",
    "Told",
    "agent_script",
    "fingerprint",
    "hopping",
    "instructions",
    "node_command",
    "providing",
    "python_command",
    "reply_to",
    "running_program",
    "save_screenshots",
    "screenshot",
    "stream",
    "tools",
    "total_bytes",
    "whole",
]
