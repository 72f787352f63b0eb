import json
import subprocess
import sys
from pathlib import Path

from coatcheck.client.dify.composing import MarkedFunction, composed

from .structural import SIGNED, File, Storage

ROOT = Path(__file__).parents[3]


def test_a_call_within_a_call_is_about_its_own_file() -> None:
    seen: list[str | None] = []

    def inner(f: File, /) -> None:
        _note(seen)

    def outer(f: File, /) -> None:
        _note(seen)
        MarkedFunction(inner)(File(Storage(), "inner"))
        _note(seen)

    MarkedFunction(outer)(File(Storage(), "outer"))
    assert seen == ["outer", "inner", "outer"]
    assert composed() is None


def test_greenlets_do_not_see_each_others_files() -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.client.dify.under_gevent"],
        cwd=ROOT,
        capture_output=True,
        timeout=50,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    urls = {f"{number}": SIGNED.format(number) for number in range(8)}
    assert json.loads(ran.stdout) == {"urls": urls, "puts": 8}


def _note(seen: list[str | None]) -> None:
    call = composed()
    seen.append(call.file.related_id if call else None)
