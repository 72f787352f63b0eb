"""Looks at all of a store, changes nothing, and says what is wrong.

The databases are read over connections of their own, beside whatever else goes on. What the bytes are,
it does not look at: that is the scrub's.
"""

import sqlite3
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from .backend import SHARDS
from .consistency import NAMED_AT_MOST, Finding, FindingKind, find_inconsistencies
from .database import Database
from .errors import DamagedDatabaseError
from .reconcile import Reconcile, ReconcileProgress

Step: TypeAlias = Literal["index", "prompts", "rows", "files"]
_WHOLE_CHECK: Final = "PRAGMA integrity_check(100)"


@dataclass(frozen=True, slots=True)
class CheckProgress:
    """How far a check is."""

    step: Step
    """What it looks at now, or did last."""
    share: float
    """Of that step, from 0 to 1."""
    findings: tuple[Finding, ...] = ()
    """What is known to be wrong; all of it when the last step is over."""


class Check:
    """Checks one store."""

    def __init__(self, *, index: Database, prompts: Database, reconcile: Reconcile) -> None:
        self._index = index
        self._prompts = prompts
        self._reconcile = reconcile

    async def run(self) -> AsyncGenerator[CheckProgress]:
        """Look at everything and yield how far it is; the last one has all findings.

        Damage of a database is noted too, so that the next start puts it right.

        Raises:
            StoreClosedError, StoreUnavailableError: the disk or the index cannot be read.
        """
        findings: list[Finding] = []
        databases: tuple[tuple[Step, Database, FindingKind], ...] = (
            ("index", self._index, FindingKind.INDEX_DAMAGED),
            ("prompts", self._prompts, FindingKind.PROMPTS_DAMAGED),
        )
        for step, database, kind in databases:
            yield CheckProgress(step, 0.0, tuple(findings))
            findings += await _damage(database, kind)
        yield CheckProgress("rows", 0.0, tuple(findings))
        if not any(finding.kind is FindingKind.INDEX_DAMAGED for finding in findings):
            findings += await self._index.inspect(find_inconsistencies)
        async for progress in self._check_files(tuple(findings)):
            yield progress

    async def _check_files(self, before: tuple[Finding, ...]) -> AsyncGenerator[CheckProgress]:
        names: dict[FindingKind, list[str]] = {}
        count: Counter[FindingKind] = Counter()
        async with aclosing(self._reconcile.steps(mend=False)) as steps:
            async for done in steps:
                _note(done, names, count)
                yield CheckProgress("files", done.shards / SHARDS, (*before, *_told(names, count)))


async def _damage(database: Database, kind: FindingKind) -> list[Finding]:
    try:
        said = await database.inspect(_integrity)
    except DamagedDatabaseError as error:
        said = [str(error)]
    if not said:
        return []
    await database.note_damage("; ".join(said[:NAMED_AT_MOST]))
    return [Finding(kind, len(said), said[:NAMED_AT_MOST])]


def _integrity(connection: sqlite3.Connection) -> list[str]:
    said = [str(row[0]) for row in connection.execute(_WHOLE_CHECK)]
    return [] if said == ["ok"] else said


def _note(
    done: ReconcileProgress, names: dict[FindingKind, list[str]], count: Counter[FindingKind]
) -> None:
    found = [(FindingKind(kind.value), digest) for kind, digest in done.found]
    found += [(FindingKind.FOREIGN_FILE, name) for name in done.strangers]
    for kind, name in found:
        count[kind] += 1
        examples = names.setdefault(kind, [])
        if len(examples) < NAMED_AT_MOST:
            examples.append(name)


def _told(names: Mapping[FindingKind, list[str]], count: Counter[FindingKind]) -> list[Finding]:
    return [Finding(kind, count[kind], tuple(examples)) for kind, examples in names.items()]
