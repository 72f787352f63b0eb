"""What a worker gives up before it sees the first image. All of it is for good.

No new files, sockets or processes; no writing to files, no core; bounded memory and processor time;
an end with its parent, also while it decodes.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

from .wire import WorkerLimits

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38  # linux/prctl.h


def confine(limits: WorkerLimits) -> None:
    """Give up everything but standard input and output, and what decoding needs.

    Raises:
        OSError: the system does not take a limit.
        ProcessLookupError: the parent has ended already.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # whoever stops the server lets requests end
    if sys.platform == "linux":
        _die_with(limits.parent_pid)
        with contextlib.suppress(OSError):  # a /proc that is read-only or not there
            Path("/proc/self/oom_score_adj").write_text("1000")  # sooner this than the server
        _limit(resource.RLIMIT_AS, _mapped_bytes() + limits.memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NPROC, 0)
    _limit(resource.RLIMIT_NOFILE, 3)  # standard input, output and error are open already


def allow_cpu(seconds: int) -> None:
    """Let this process use so many seconds of processor time from now, and then be killed."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = int(used.ru_utime + used.ru_stime) + 1 + seconds
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (until, hard))


def _limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


def _die_with(parent_pid: int) -> None:
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for option, argument in ((_PR_SET_PDEATHSIG, signal.SIGKILL), (_PR_SET_NO_NEW_PRIVS, 1)):
        if prctl(option, argument, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent_pid:  # it ended before it could be told
        raise ProcessLookupError(parent_pid)


def _mapped_bytes() -> int:
    pages = Path("/proc/self/statm").read_text().split()[0]
    return int(pages) * resource.getpagesize()
