"""Where a serving process writes its log: standard error, a line for each event."""

import logging
import sys


def log_to_stderr(level: str, *, worker: str | None = None) -> None:
    """Set up this process's log; `worker` tells the processes of one server apart.

    What no line of ours shows is not found out for each of them: who called, in which thread, process
    and task (docs.python.org/3/howto/logging.html, Optimization).
    """
    logging._srcfile = None  # pyright: ignore[reportPrivateUsage]
    logging.logThreads = False
    logging.logProcesses = False
    logging.logMultiprocessing = False
    who = "" if worker is None else f" [{worker}]"
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        format=f"%(asctime)s{who} %(levelname)s %(name)s %(message)s",
    )
    logging.getLogger("alembic").setLevel(logging.WARNING)
