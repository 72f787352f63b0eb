"""From strace's log to the places where a fault can strike."""

from pathlib import Path

from faults.site import Fault, Site, Start, choose, find_sites
from faults.trace import Call, read_calls

DATA = Path("/tmp/x/data")
LOG = """\
7 openat(AT_FDCWD</tmp/x>, "/tmp/x/data/spool/1.part", O_WRONLY|O_CREAT, 0600) = 8</tmp/x/data/spool/1.part>
7 writev(8</tmp/x/data/spool/1.part>, [{iov_base="a"..., iov_len=20}], 1) = 20
7 fsync(8</tmp/x/data/spool/1.part> <unfinished ...>
9 write(2</dev/pts/0>, "/"..., 12) = 12
9 fsync(5</tmp/x/database>) = 0
9 unlinkat(4</tmp/x/data>, "lock", 0) = 0
7 <... fsync resumed>) = -1 EIO (Input/output error) (INJECTED)
7 fsync(8</tmp/x/data/spool/1.part>) = 0
7 rename("/tmp/x/data/spool/1.part", "/tmp/x/data/blobs/ab") = 0
9 close(5</tmp/x/data/spool/2.part>(deleted)) = 0
"""


def test_the_calls_on_files_of_the_folder() -> None:
    assert read_calls(LOG, DATA) == [
        Call(7, "openat", ("spool/1.part",), is_injected=False),
        Call(7, "writev", ("spool/1.part",), is_injected=False),
        Call(7, "fsync", ("spool/1.part",), is_injected=True),
        Call(9, "unlinkat", (".",), is_injected=False),
        Call(7, "fsync", ("spool/1.part",), is_injected=False),
        Call(7, "rename", ("spool/1.part", "blobs/ab"), is_injected=False),
    ]


def test_a_site_is_counted_for_its_thread_and_its_file() -> None:
    sites = find_sites(read_calls(LOG, DATA), Start.NEW)
    assert Site(Start.NEW, "fsync", "spool/1.part", 2) in sites
    assert len(sites) == 6
    flags = sites[4].flags(Fault.FULL, DATA)
    assert flags == (
        *("-P", "/tmp/x/data/spool/1.part"),
        *("-e", "trace=fsync", "-e", "inject=fsync:error=ENOSPC:when=2"),
    )


def test_where_names_are_random_a_site_is_counted_over_all_files() -> None:
    sites = find_sites(read_calls(LOG, DATA), Start.SERVED)
    assert Site(Start.SERVED, "fsync", "", 2) in sites
    assert Site(Start.SERVED, "rename", "", 1) in sites
    assert not any(site.path.startswith("spool") for site in sites)
    assert "-P" not in sites[0].flags(Fault.KILL, DATA)


def test_each_kind_comes_with_each_fault_before_any_comes_twice() -> None:
    shards = [Site(Start.NEW, "mkdir", f"blobs/sha256/{n:02x}", 1) for n in range(200)]
    rename = Site(Start.NEW, "rename", "spool/1.part", 1)
    chosen = choose([*shards, rename], 6, seed=1)
    assert len({(site.kind, fault) for site, fault in chosen}) == 6
    assert choose([*shards, rename], 6, seed=1) == chosen
    assert choose([*shards, rename], 6, seed=2) != chosen
    every = choose([*shards, rename], 10_000, seed=1)
    assert len(every) == len(set(every)) == 603
