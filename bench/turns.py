"""Time and CPU of a turn through Coatcheck, against the bare proxy.

Both forward to the same upstream process. Rounds alternate between the two, and between who goes
first, so that what else happens on the machine falls on both. A case is measured in several visits
with others between, since that may last for seconds. Medians of all rounds are compared. CPU is
counted from round to round, so that work done after an answer is not lost. The first two rounds of a
visit are not counted.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from .caller import Caller, UnexpectedAnswerError
from .finding import Finding
from .server_process import ServerProcess

_WARM_UP_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class TurnCase:
    """The same turn in both forms; both must reach the upstream as the same bytes."""

    name: str
    path: str
    bare_body: bytes
    coatcheck_body: bytes
    rounds: int
    turns_a_round: int
    max_ratio: float
    max_added_milliseconds: float | None = None
    """What it may add to the bare proxy's wall time; None where that is no promise."""
    has_after_work: bool = False
    """Whether there is work after an answer, which must not fall on whoever is next."""


@dataclass(frozen=True, slots=True)
class _Sample:
    wall_seconds: float
    cpu_seconds: float


class _Side:
    """One of the two servers, with what its rounds took."""

    def __init__(self, server: ServerProcess, case: TurnCase, body: bytes) -> None:
        self._server = server
        self._case = case
        self._body = body
        self._samples: list[_Sample] = []

    @contextmanager
    def visit(self) -> Generator["_Visit"]:
        """Connect, and send the turn once."""
        with Caller(self._server.port) as caller:
            told = caller.turn(self._case.path, self._body).told
            yield _Visit(self._server, caller, self._case, self._body, told)

    def count(self, samples: Sequence[_Sample]) -> None:
        self._samples += samples

    @property
    def wall_seconds(self) -> float:
        return median(sample.wall_seconds for sample in self._samples)

    @property
    def cpu_seconds(self) -> float:
        return median(sample.cpu_seconds for sample in self._samples)


class _Visit:
    """Rounds over one connection, with the CPU time at the end of the last one."""

    def __init__(
        self,
        server: ServerProcess,
        caller: Caller,
        case: TurnCase,
        body: bytes,
        told: Mapping[str, object],
    ) -> None:
        self._server = server
        self._caller = caller
        self._case = case
        self._body = body
        self.told = told
        self._cpu_seconds = server.cpu_seconds()
        self.samples: list[_Sample] = []

    def round(self) -> None:
        turns = self._case.turns_a_round
        walls = [self._caller.turn(self._case.path, self._body).seconds for _ in range(turns)]
        if self._case.has_after_work:
            self._server.wait_until_idle()
        cpu_seconds = self._server.cpu_seconds()
        spent = cpu_seconds - self._cpu_seconds
        self._cpu_seconds = cpu_seconds
        self.samples.append(_Sample(median(walls), spent / turns))


class TurnComparison:
    """One case against both servers, which stay the caller's. Visit it at least once."""

    def __init__(self, case: TurnCase, bare: ServerProcess, coatcheck: ServerProcess) -> None:
        self._case = case
        self._bare = _Side(bare, case, case.bare_body)
        self._ours = _Side(coatcheck, case, case.coatcheck_body)

    def visit(self, rounds: int) -> None:
        """Run so many rounds, and two before them that do not count.

        Raises:
            UnexpectedAnswerError: the upstream received something else from one than from the other.
        """
        with self._bare.visit() as bare, self._ours.visit() as ours:
            if bare.told != ours.told:
                raise UnexpectedAnswerError(
                    f"{self._case.name}: the upstream got {bare.told} from the bare proxy, "
                    f"{ours.told} from coatcheck"
                )
            for number in range(_WARM_UP_ROUNDS + rounds):
                for side in (bare, ours) if number % 2 else (ours, bare):
                    side.round()
            self._bare.count(bare.samples[_WARM_UP_ROUNDS:])
            self._ours.count(ours.samples[_WARM_UP_ROUNDS:])

    def findings(self) -> Iterator[Finding]:
        """Yield the ratios of wall time and CPU time over all visits."""
        case, bare, ours = self._case, self._bare, self._ours
        walls = _compared(bare.wall_seconds, ours.wall_seconds)
        cpu = _compared(bare.cpu_seconds, ours.cpu_seconds)
        ratio = ours.wall_seconds / bare.wall_seconds
        yield Finding(f"{case.name}, time", ratio, case.max_ratio, "x", walls)
        ratio = ours.cpu_seconds / bare.cpu_seconds
        yield Finding(f"{case.name}, CPU", ratio, case.max_ratio, "x", cpu)
        if case.max_added_milliseconds is not None:
            added = (ours.wall_seconds - bare.wall_seconds) * 1000
            yield Finding(f"{case.name}, added", added, case.max_added_milliseconds, "ms", walls)


def _compared(bare: float, coatcheck: float) -> str:
    return f"{coatcheck * 1000:.2f} ms, bare proxy {bare * 1000:.2f} ms"
