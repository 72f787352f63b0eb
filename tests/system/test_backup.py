"""The backup of docs/operate.md, as it stands there: taken beside a server, put back, served."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from .conftest import Run, Serve

pytestmark = pytest.mark.system

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operate.md"


def script(data: Path, backup: Path) -> str:
    """Return the page's commands for these folders."""
    (text,) = re.findall(r"```sh\n(data=.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    page: str = text
    page = page.replace("data=/var/lib/coatcheck\n", f"data={data}\n")
    return page.replace("backup=/srv/backup/coatcheck\n", f"backup={backup}\n")


def back_up(data: Path, backup: Path) -> None:
    """Run them."""
    if shutil.which("rsync") is None:
        pytest.fail("rsync is missing; as root: apt-get install --no-install-recommends rsync")
    subprocess.run(["sh", "-euc", script(data, backup)], check=True, timeout=50)


def test_a_backup_beside_a_server_is_served_where_it_is_put_back(
    serve: Serve, run: Run, tmp_path: Path
) -> None:
    data, backup, restored = (tmp_path / name for name in ("data", "backup", "restored"))
    served = serve(data=data)
    key = run("keys", "create", "--data", data).out.strip()
    headers = {"Authorization": f"Bearer {key}"}

    def put(url: str, body: bytes) -> str:
        with urlopen(Request(f"{url}/v1/blobs", body, headers)) as answer:
            digest: str = json.load(answer)["digest"]
        return digest

    def get(url: str, digest: str) -> bytes:
        with urlopen(Request(f"{url}/v1/blobs/{digest}", headers=headers)) as answer:
            content: bytes = answer.read()
        return content

    photograph = os.urandom(5_000_000)
    first = put(served.url, photograph)
    back_up(data, backup)
    second = put(served.url, b"between two backups")
    back_up(data, backup)
    late = put(served.url, b"after the last one")
    assert served.stop() == 0
    assert {path.name for path in backup.iterdir()} == {
        *("index.sqlite", "prompts.sqlite", "seed", "keyed", "blobs")
    }

    shutil.move(backup, restored)
    again = serve(data=restored)
    assert get(again.url, first) == photograph
    assert get(again.url, second) == b"between two backups"
    with pytest.raises(HTTPError, match="404"):
        get(again.url, late)
    assert put(again.url, b"after the last one") == late
    assert again.stop() == 0
