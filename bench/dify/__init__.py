"""A chat of Dify's with images in its memory: base64 as today, and our ways beside it.

Dify's own plugin SDK and the replayed client of its API stand at the ends (`tests.dify`); its API and its
plugin daemon do not, and what stands for them is counted apart. Tests use the same parts in smaller forms.
"""

from .api import ApiProcess, Facts, Said
from .chain import BASE64, WAYS, Chain, Way, chaining
from .chat import IMAGE_BYTES, Chat, Size, run_chats
from .measure import measure_dify

__all__ = [
    "BASE64",
    "IMAGE_BYTES",
    "WAYS",
    "ApiProcess",
    "Chain",
    "Chat",
    "Facts",
    "Said",
    "Size",
    "Way",
    "chaining",
    "measure_dify",
    "run_chats",
]
