"""What it takes to remove something from a store: what a sweep and an erasure work with alike."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from .backend import Backend
from .counts import StoreCounts
from .database import Database
from .digest_locks import DigestLocks
from .finisher import Finisher
from .hot import HotGrants
from .prompts import Prompts
from .responses import Responses
from .upload_upkeep import UploadUpkeep


@dataclass(frozen=True, slots=True)
class Removal:
    """Parts of one store. Who removes from several of them says in which order."""

    database: Database
    backend: Backend
    hot: HotGrants
    locks: DigestLocks
    finisher: Finisher
    prompts: Prompts
    responses: Responses
    uploads: UploadUpkeep
    executor: Executor
    """The store's, for removing files."""
    counts: StoreCounts
    """Where what was removed is counted."""
    clock: Callable[[], float]
