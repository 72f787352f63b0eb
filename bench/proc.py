"""What the kernel tells of a running process: its CPU time and its resident memory.

- CPU: the kernel's CPU-time clock of the process (all its threads, user and system, in nanoseconds).
- Memory: `VmRSS` and `VmHWM` of /proc/PID/status, the resident set and its peak, reset to the present
  value by writing 5 to /proc/PID/clear_refs (proc(5)).
"""

import re
import time
from pathlib import Path

_CPUCLOCK_SCHED = 2
"""The kind of CPU clock that counts user and system time together (Linux posix-timers.h)."""


def cpu_seconds(pid: int) -> float:
    """Return the CPU time since the process started; its children's is not in it."""
    # Named as by clock_getcpuclockid(3); Python has no call for it.
    return time.clock_gettime_ns((~pid << 3) | _CPUCLOCK_SCHED) / 1e9


def resident_bytes(pid: int) -> int:
    """Return the resident set as it is now."""
    return _status_bytes(pid, "VmRSS")


def peak_bytes(pid: int) -> int:
    """Return the highest resident set since the process started or `reset_peak`."""
    return _status_bytes(pid, "VmHWM")


def reset_peak(pid: int) -> None:
    """Let the peak count from now on. May be called again."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status_bytes(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(rf"^{name}:\s+(\d+) kB$", status, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0
