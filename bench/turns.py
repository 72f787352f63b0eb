"""Time and CPU of a turn through Coatcheck, against the bare proxy.

Both forward to the same upstream process. Rounds alternate between the two, and between who goes
first, so that what else happens on the machine falls on both; medians of the rounds are compared.
CPU is counted from round to round, so that work done after an answer is not lost. The first two
rounds are not counted.
"""

from collections.abc import Iterator
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
    """One of the two servers, with the CPU time at the end of its last round."""

    def __init__(self, server: ServerProcess, caller: Caller, case: TurnCase, body: bytes) -> None:
        self._server = server
        self._caller = caller
        self._case = case
        self._body = body
        self.told = caller.turn(case.path, body).told
        self._cpu_seconds = server.cpu_seconds()
        self._samples: list[_Sample] = []

    def round(self) -> None:
        turns = self._case.turns_a_round
        walls = [self._caller.turn(self._case.path, self._body).seconds for _ in range(turns)]
        if self._case.has_after_work:
            self._server.wait_until_idle()
        cpu_seconds = self._server.cpu_seconds()
        spent = cpu_seconds - self._cpu_seconds
        self._cpu_seconds = cpu_seconds
        self._samples.append(_Sample(median(walls), spent / turns))

    @property
    def wall_seconds(self) -> float:
        return median(sample.wall_seconds for sample in self._samples[_WARM_UP_ROUNDS:])

    @property
    def cpu_seconds(self) -> float:
        return median(sample.cpu_seconds for sample in self._samples[_WARM_UP_ROUNDS:])


def compare_turns(
    case: TurnCase, bare: ServerProcess, coatcheck: ServerProcess
) -> Iterator[Finding]:
    """Run the rounds of one case and yield the ratios of wall time and CPU time.

    Raises:
        UnexpectedAnswerError: the upstream received something else from one than from the other.
    """
    with Caller(bare.port) as bare_caller, Caller(coatcheck.port) as coatcheck_caller:
        sides = [
            _Side(bare, bare_caller, case, case.bare_body),
            _Side(coatcheck, coatcheck_caller, case, case.coatcheck_body),
        ]
        if sides[0].told != sides[1].told:
            raise UnexpectedAnswerError(
                f"{case.name}: the upstream got {sides[0].told} from the bare proxy, "
                f"{sides[1].told} from coatcheck"
            )
        for number in range(_WARM_UP_ROUNDS + case.rounds):
            for side in sides if number % 2 else reversed(sides):
                side.round()
    bare_side, our_side = sides
    walls = _compared(bare_side.wall_seconds, our_side.wall_seconds)
    cpu = _compared(bare_side.cpu_seconds, our_side.cpu_seconds)
    ratio = our_side.wall_seconds / bare_side.wall_seconds
    yield Finding(f"{case.name}, time", ratio, case.max_ratio, "x", walls)
    ratio = our_side.cpu_seconds / bare_side.cpu_seconds
    yield Finding(f"{case.name}, CPU", ratio, case.max_ratio, "x", cpu)
    if case.max_added_milliseconds is not None:
        added = (our_side.wall_seconds - bare_side.wall_seconds) * 1000
        yield Finding(f"{case.name}, added", added, case.max_added_milliseconds, "ms", walls)


def _compared(bare: float, coatcheck: float) -> str:
    return f"{coatcheck * 1000:.2f} ms, bare proxy {bare * 1000:.2f} ms"
