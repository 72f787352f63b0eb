"""What a turn costs in each dialect, beside the bare proxy with the same images inline.

Images as refs, images inline from a client that knows nothing of us, and text alone. The upstream
must be told the same bytes both ways.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .caller import Caller
from .finding import Finding
from .server_process import ServerProcess
from .turn_bodies import TURN_FORMS, TurnForm
from .turns import TurnCase, TurnComparison

MAX_REFS_RATIO = 1.1
MAX_INLINE_RATIO = 2.5
MAX_TEXT_RATIO = 3.0
MAX_ADDED_MILLISECONDS = 3.0
MAX_BODIES = 3.0
_VISITS = 4
_INLINE_ROUNDS = 8  # of turns of 50 MB: each takes as long as many small ones


@dataclass(frozen=True, slots=True)
class Sides:
    """The two servers in front of the same upstream."""

    bare: ServerProcess
    coatcheck: ServerProcess


def measure_dialects(
    sides: Sides, images: Sequence[bytes], rounds: int, say: Callable[[str], None]
) -> Iterator[Finding]:
    """Yield the ratios of time and CPU for every dialect; the images are uploaded first.

    Raises:
        UnexpectedAnswerError: a turn did not reach the upstream as it should.
    """
    say(f"uploading {len(images)} photographs")
    with Caller(sides.coatcheck.port) as caller:
        refs = [caller.upload(image) for image in images]
    cases = [case for form in TURN_FORMS.values() for case in _cases(form, images, refs, rounds)]
    comparisons = [TurnComparison(case, sides.bare, sides.coatcheck) for case in cases]
    for number in range(1, _VISITS + 1):
        for case, comparison in zip(cases, comparisons, strict=True):
            say(f"{case.name}, visit {number} of {_VISITS}")
            comparison.visit(-(-case.rounds // _VISITS))
    for comparison in comparisons:
        yield from comparison.findings()


def measure_inline_memory(
    coatcheck: ServerProcess, form: TurnForm, images: Sequence[bytes]
) -> Finding:
    """Return the peak of memory over idle for one turn with the images inline, in bodies.

    `coatcheck` should be freshly started, and should not have the images yet.

    Raises:
        UnexpectedAnswerError: the turn was not answered.
    """
    body = form.inline_turn(images)
    with Caller(coatcheck.port) as caller:
        caller.turn(form.path, form.inline_turn([images[0][:1000]]))
        coatcheck.wait_until_idle()
        idle_bytes = coatcheck.reset_peak()
        caller.turn(form.path, body)
        coatcheck.wait_until_idle()
    added = coatcheck.peak_since(idle_bytes).added_bytes
    compared = f"{added / 1e6:.0f} MB over idle, for {len(body) / 1e6:.0f} MB"
    name = f"{form.dialect}, {_weight(body)} inline, peak memory"
    return Finding(name, added / len(body), MAX_BODIES, "bodies", compared)


def _cases(
    form: TurnForm, images: Sequence[bytes], refs: Sequence[str], rounds: int
) -> Iterator[TurnCase]:
    name = form.dialect
    for count, turns_a_round in ((1, 10), (len(images), 2)):
        yield TurnCase(
            name=f"{name}, {count} image{'s' if count > 1 else ''} of 2.6 MB",
            path=form.path,
            bare_body=form.inline_turn(images[:count]),
            coatcheck_body=form.refs_turn(refs[:count]),
            rounds=rounds,
            turns_a_round=turns_a_round,
            max_ratio=MAX_REFS_RATIO,
        )
    inline, text = form.inline_turn(images), form.text_turn()
    yield TurnCase(
        name=f"{name}, {_weight(inline)} inline",
        path=form.path,
        bare_body=inline,
        coatcheck_body=inline,
        rounds=min(rounds, _INLINE_ROUNDS),
        turns_a_round=1,
        has_after_work=True,
        max_ratio=MAX_INLINE_RATIO,
    )
    yield TurnCase(
        name=f"{name}, text only",
        path=form.path,
        bare_body=text,
        coatcheck_body=text,
        rounds=rounds,
        turns_a_round=20,
        max_ratio=MAX_TEXT_RATIO,
        max_added_milliseconds=MAX_ADDED_MILLISECONDS,
    )


def _weight(body: bytes) -> str:
    return f"{len(body) / 1e6:.0f} MB"
