"""Whether time grows in step with size: 100 MB against 50 MB of what a line reader could choke on.

Linear is a ratio of 2; quadratic would be 4. Smaller sizes would compare two allocators: up to
32 MB glibc keeps freed memory for the next use, above it takes new pages each time. The time for
5 MB is shown beside. Each is the best of five, begun when the server has finished what the one
before left.
"""

import base64
from collections.abc import Callable, Iterator
from random import Random

from .caller import Answer, Caller, UnexpectedAnswerError
from .finding import Finding
from .server_process import ServerProcess
from .turn_bodies import CHAT
from .upstream import ANSWER_HEADER, SSE_LINE

MAX_RATIO = 3.0
_MEGABYTE = 1_000_000
_REPEATS = 5


def measure_linearity(coatcheck: ServerProcess) -> Iterator[Finding]:
    """Yield the ratio of times for one long SSE line, a long JSON body and a long inline image.

    Raises:
        UnexpectedAnswerError: less came through than was sent.
    """
    with Caller(coatcheck.port) as caller:

        def sse_line(size: int) -> Callable[[], Answer]:
            headers = {ANSWER_HEADER: f"{SSE_LINE} {size}"}
            return lambda: _whole(caller.turn(CHAT.path, CHAT.text_turn(), headers), size)

        def text_body(size: int) -> Callable[[], Answer]:
            body = CHAT.text_turn('words and \\ "quotes" ' * (size // 23))
            return lambda: caller.turn(CHAT.path, body)

        def inline_body(size: int) -> Callable[[], Answer]:
            body = CHAT.inline_turn([_like_a_jpeg(size)])
            return lambda: caller.turn(CHAT.path, body)

        yield _growth("SSE line", coatcheck, sse_line)
        yield _growth("JSON body, text", coatcheck, text_body)
        yield _growth("JSON body, inline data", coatcheck, inline_body)


def _growth(
    name: str, server: ServerProcess, make: Callable[[int], Callable[[], Answer]]
) -> Finding:
    seconds = [_best_seconds(server, make(size * _MEGABYTE)) for size in (5, 50, 100)]
    compared = "5, 50, 100 MB: " + ", ".join(f"{one * 1000:.0f} ms" for one in seconds)
    return Finding(f"{name}, 100 MB / 50 MB", seconds[2] / seconds[1], MAX_RATIO, "x", compared)


def _best_seconds(server: ServerProcess, run: Callable[[], Answer]) -> float:
    seconds: list[float] = []
    for _ in range(_REPEATS):
        server.wait_until_idle()
        seconds.append(run().seconds)
    return min(seconds)


def _whole(answer: Answer, size: int) -> Answer:
    if answer.size < size:
        raise UnexpectedAnswerError(f"{answer.size} bytes of a line of {size} came through")
    return answer


def _like_a_jpeg(base64_bytes: int) -> bytes:
    head = base64.b64decode("/9j/4AAQSkZJRgABAQAAAQABAAA=")
    return head + Random(base64_bytes).randbytes(base64_bytes * 3 // 4 - len(head))
