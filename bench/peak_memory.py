"""Memory of the Coatcheck process over idle, while it forwards turns with refs to large images."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from .caller import Answer, Caller, UnexpectedAnswerError
from .finding import Finding
from .server_process import ServerProcess
from .turn_bodies import CHAT

MAX_ONE_MEGABYTES = 8.0
MAX_MANY_MEGABYTES = 150.0
REQUESTS_AT_ONCE = 32


def measure_memory(coatcheck: ServerProcess, small: bytes, large: bytes) -> Iterator[Finding]:
    """Warm up with the small turn; then yield the peaks of one large turn, and of 32 at once.

    `coatcheck` should be freshly started, so that memory kept from earlier work does not hide
    what a turn adds.

    Raises:
        UnexpectedAnswerError: one of the turns reached the upstream as other bytes.
    """
    _send_at_once(coatcheck, small, 1)
    yield _added(coatcheck, large, 1, MAX_ONE_MEGABYTES)
    yield _added(coatcheck, large, REQUESTS_AT_ONCE, MAX_MANY_MEGABYTES)


def _added(coatcheck: ServerProcess, body: bytes, count: int, limit: float) -> Finding:
    coatcheck.wait_until_idle()
    idle_bytes = coatcheck.reset_peak()
    answers = _send_at_once(coatcheck, body, count)
    memory = coatcheck.peak_since(idle_bytes)
    if len({str(answer.told) for answer in answers}) != 1:
        raise UnexpectedAnswerError("the same turn reached the upstream as different bytes")
    name = "15 images, peak memory over idle" if count == 1 else f"the same, {count} at once"
    return Finding(name, memory.added_bytes / 1e6, limit, "MB", f"idle {idle_bytes / 1e6:.1f} MB")


def _send_at_once(server: ServerProcess, body: bytes, count: int) -> list[Answer]:
    with ExitStack() as stack:
        callers = [stack.enter_context(Caller(server.port)) for _ in range(count)]
        pool = stack.enter_context(ThreadPoolExecutor(count))
        answers = [pool.submit(caller.turn, CHAT.path, body) for caller in callers]
        return [answer.result() for answer in answers]
