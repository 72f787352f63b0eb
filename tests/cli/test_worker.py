"""A worker process by itself, without the supervisor that usually starts it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from coatcheck.cli.control import READY, Order
from coatcheck.web import BALANCE_BYTES

PATIENCE_SECONDS = 30


@pytest.mark.system
def test_a_supervisor_that_is_gone_without_having_read_all_is_noticed(tmp_path: Path) -> None:
    memory = os.memfd_create("test")
    os.ftruncate(memory, BALANCE_BYTES)
    ours, theirs = socket.socketpair()
    order = Order(
        service="api",
        name="1",
        settings={"data": str(tmp_path / "data")},
        listeners=(),
        balance=(memory, 0),
        shared_folder=None,
        doors=tmp_path,
    )
    with theirs:
        worker = subprocess.Popen(
            [sys.executable, "-m", "coatcheck.cli.worker", str(theirs.fileno())],
            pass_fds=(theirs.fileno(), memory),
            stderr=subprocess.PIPE,
        )
    os.close(memory)
    with ours:
        ours.settimeout(PATIENCE_SECONDS)
        ours.sendall(order.model_dump_json().encode() + b"\n")
        assert ours.recv(100, socket.MSG_PEEK).decode().strip() == READY
    try:
        said = worker.communicate(timeout=PATIENCE_SECONDS)[1]
    finally:
        worker.kill()
    assert worker.returncode == 0
    assert b"the supervisor is gone" in said
    assert b"Traceback" not in said
