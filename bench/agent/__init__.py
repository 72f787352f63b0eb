"""An agent's run: an application with an official SDK, a scripted model, and every byte counted.

The application is a program in Python or Node that knows nothing of Coatcheck; the model's answers
follow from all that it was sent. Tests use the same parts in smaller forms.
"""

from .chain import Chain, Front, Shape, chaining, upstreams
from .hop import Cut, Direction, Hop, hopping
from .measure import measure_agent
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
from .run import PLAIN, WAYS, Node, Run, Way, run_agent, up_limit
from .screenshots import save_screenshots, screenshot, total_bytes
from .script import Role, Step, agent_script
from .service import Service, ServiceError
from .speech import DIALECTS, MODEL, stream, whole
from .tools import instructions, tools
from .upstream import PATHS, Provider, providing

__all__ = [
    "DIALECTS",
    "MODEL",
    "PATHS",
    "PLAIN",
    "WAYS",
    "Chain",
    "Cut",
    "Direction",
    "Front",
    "Hop",
    "Language",
    "Node",
    "Program",
    "ProgramError",
    "Provider",
    "Reply",
    "Role",
    "Run",
    "Service",
    "ServiceError",
    "Shape",
    "Step",
    "Told",
    "Way",
    "agent_script",
    "chaining",
    "fingerprint",
    "hopping",
    "instructions",
    "measure_agent",
    "node_command",
    "providing",
    "python_command",
    "reply_to",
    "run_agent",
    "running_program",
    "save_screenshots",
    "screenshot",
    "stream",
    "tools",
    "total_bytes",
    "up_limit",
    "upstreams",
    "whole",
]
