"""What strace wrote: the system calls on files of one folder.

Lines look like `13464 fsync(8</data/spool/1.part>) = 0`, from `strace -f -y`; a call during which
another thread's was written has two, `fsync(8<..> <unfinished ...>` and `<... fsync resumed>) = 0`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

_LINE = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\((?P<rest>.*)")
_RESUMED = re.compile(r"(?P<thread>\d+) +<\.\.\. \w+ resumed>(?P<rest>.*)")
_INJECTED = "(INJECTED)"


@dataclass(frozen=True, slots=True)
class Call:
    """One system call. Paths are relative to the folder, `.` being itself."""

    thread: int
    name: str
    paths: tuple[str, ...]
    is_injected: bool


def read_calls(text: str, folder: Path) -> list[Call]:
    """Return the calls that name a file of the folder, or have it open, in the order of their begin."""
    return [call for call in _calls(text, folder) if call.paths]


def _calls(text: str, folder: Path) -> Iterator[Call]:
    begun: dict[int, int] = {}
    calls: list[Call] = []
    for line in text.splitlines():
        if found := _LINE.match(line):
            arguments, _, answer = found["rest"].rpartition(" = ")
            thread = int(found["thread"])
            begun[thread] = len(calls)
            paths = _paths(arguments or found["rest"], folder)
            calls.append(Call(thread, found["name"], paths, _INJECTED in answer))
        elif found := _RESUMED.match(line):
            at = begun.get(int(found["thread"]))
            if at is not None and _INJECTED in found["rest"]:
                calls[at] = replace(calls[at], is_injected=True)
    yield from calls


def _paths(arguments: str, folder: Path) -> tuple[str, ...]:
    place = re.escape(str(folder))
    found = re.findall(rf'(?:"|\d<){place}(?:/([^">]*))?(?:"|>(?!\(deleted\)))', arguments)
    return tuple(dict.fromkeys(path or "." for path in found))
