"""Whether time grows in step with size: 50 MB against 5 MB of what a line reader could choke on.

Linear is a ratio of about 10; quadratic would be 100. Fixed costs pull the ratio down, a machine
with small caches up, hence the margin in the limit.
"""

import base64
from collections.abc import Callable, Iterator
from random import Random
from statistics import median

from .caller import Caller, UnexpectedAnswerError
from .finding import Finding
from .server_process import ServerProcess
from .turn_bodies import inline_turn, text_turn
from .upstream import ANSWER_HEADER, SSE_LINE

MAX_RATIO = 15.0
_SMALL_BYTES, _LARGE_BYTES = 5_000_000, 50_000_000
_REPEATS = 3


def measure_linearity(coatcheck: ServerProcess) -> Iterator[Finding]:
    """Yield the ratio of times for one long SSE line, a long JSON body and a long inline image.

    Raises:
        UnexpectedAnswerError: less came through than was sent.
    """
    with Caller(coatcheck.port) as caller:

        def sse_line(size: int) -> Callable[[], float]:
            return lambda: _long_line(caller, size)

        def text_body(size: int) -> Callable[[], float]:
            body = text_turn('words and \\ "quotes" ' * (size // 23))
            return lambda: caller.chat(body).seconds

        def inline_body(size: int) -> Callable[[], float]:
            body = inline_turn([_bytes_like_a_jpeg(size)])
            return lambda: caller.chat(body).seconds

        yield _growth("50 MB SSE line", sse_line)
        yield _growth("50 MB JSON body, text", text_body)
        yield _growth("50 MB JSON body, inline data", inline_body)


def _growth(name: str, make: Callable[[int], Callable[[], float]]) -> Finding:
    run_small, run_large = make(_SMALL_BYTES), make(_LARGE_BYTES)
    run_small()
    small = median(run_small() for _ in range(_REPEATS))
    large = median(run_large() for _ in range(_REPEATS))
    compared = f"{large * 1000:.0f} ms, 5 MB {small * 1000:.0f} ms"
    return Finding(f"{name} / 5 MB, time", large / small, MAX_RATIO, "x", compared)


def _long_line(caller: Caller, size: int) -> float:
    answer = caller.chat(text_turn(), {ANSWER_HEADER: f"{SSE_LINE} {size}"})
    if answer.size < size:
        raise UnexpectedAnswerError(f"{answer.size} bytes of a line of {size} came through")
    return answer.seconds


def _bytes_like_a_jpeg(base64_bytes: int) -> bytes:
    head = base64.b64decode("/9j/4AAQSkZJRgABAQAAAQABAAA=")
    return head + Random(base64_bytes).randbytes(base64_bytes * 3 // 4 - len(head))
