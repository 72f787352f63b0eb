"""Time and CPU of a turn: inline through the bare proxy against refs through Coatcheck.

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

MAX_REFS_RATIO = 1.1
MAX_TEXT_RATIO = 3.0
_WARM_UP_ROUNDS = 2


@dataclass(frozen=True, slots=True)
class TurnCase:
    """The same turn in both forms; both must reach the upstream as the same bytes."""

    name: str
    bare_body: bytes
    coatcheck_body: bytes
    turns_a_round: int
    max_ratio: float


@dataclass(frozen=True, slots=True)
class _Sample:
    wall_seconds: float
    cpu_seconds: float


class _Side:
    """One of the two servers, with the CPU time at the end of its last round."""

    def __init__(self, server: ServerProcess, caller: Caller, body: bytes) -> None:
        self._server = server
        self._caller = caller
        self._body = body
        self.told = caller.chat(body).told
        self._cpu_seconds = server.cpu_seconds()
        self._samples: list[_Sample] = []

    def round(self, turns: int) -> None:
        walls = [self._caller.chat(self._body).seconds for _ in range(turns)]
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
    case: TurnCase, bare: ServerProcess, coatcheck: ServerProcess, rounds: int
) -> Iterator[Finding]:
    """Run the rounds of one case and yield the ratios of wall time and CPU time.

    Raises:
        UnexpectedAnswerError: the upstream received something else from one than from the other.
    """
    with Caller(bare.port) as bare_caller, Caller(coatcheck.port) as coatcheck_caller:
        sides = [
            _Side(bare, bare_caller, case.bare_body),
            _Side(coatcheck, coatcheck_caller, case.coatcheck_body),
        ]
        if sides[0].told != sides[1].told:
            raise UnexpectedAnswerError(
                f"{case.name}: the upstream got {sides[0].told} from the bare proxy, "
                f"{sides[1].told} from coatcheck"
            )
        for number in range(_WARM_UP_ROUNDS + rounds):
            for side in sides if number % 2 else reversed(sides):
                side.round(case.turns_a_round)
    yield _ratio(f"{case.name}, time", sides[0].wall_seconds, sides[1].wall_seconds, case.max_ratio)
    yield _ratio(f"{case.name}, CPU", sides[0].cpu_seconds, sides[1].cpu_seconds, case.max_ratio)


def _ratio(name: str, bare: float, coatcheck: float, limit: float) -> Finding:
    compared = f"{coatcheck * 1000:.2f} ms, bare proxy {bare * 1000:.2f} ms"
    return Finding(name, coatcheck / bare, limit, "x", compared)
