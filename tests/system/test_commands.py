"""The commands against a real server: results, JSON, exit codes, no tracebacks."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coatcheck.client import Client
from coatcheck.protocol import Digest, parse_pointer

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system


def test_a_picture_goes_in_and_comes_out(serve: Fixture, run: Fixture, tmp_path: Path) -> None:
    url = serve().url
    data = b"\x89PNG\r\n\x1a\n" + b"x" * 9_000_000
    digest = Digest.of(data)
    (tmp_path / "a.png").write_bytes(data)

    put = run("put", "--json", "--pointer", "a.png", url=url)
    assert put.code == 0, put.err
    (described,) = json.loads(put.out)
    assert (described["digest"], described["size"]) == (digest, len(data))
    assert described["media_type"] == "image/png"
    pointer = parse_pointer(described["pointer"].encode())
    assert pointer
    assert pointer.digest == digest

    again = run("put", "a.png", url=url)
    assert (again.out, "9,000,008 bytes" in again.err) == (f"blob:{digest}\n", True)
    assert run("put", "--pointer", "a.png", url=url).out == described["pointer"]
    assert json.loads(run("stat", f"blob:{digest}", "--json", url=url).out)["size"] == len(data)
    assert "image/png" in run("stat", digest, url=url).out
    assert [item["digest"] for item in json.loads(run("ls", "--json", url=url).out)] == [digest]

    assert run("get", digest, "-o", "b.png", url=url).code == 0
    assert (tmp_path / "b.png").read_bytes() == data
    assert run("pin", digest, url=url).code == 0
    assert run("unpin", digest, url=url).code == 0
    assert json.loads(run("rm", digest, "--json", url=url).out) == [{"digest": digest, "holds": []}]
    gone = run("stat", digest, url=url)
    assert (gone.code, gone.out) == (3, "")
    assert run("get", digest, url=url).code == 3
    assert run("rm", digest, url=url).code == 3


def test_what_is_done_is_printed_before_something_fails(
    serve: Fixture, run: Fixture, tmp_path: Path
) -> None:
    url = serve().url
    (tmp_path / "a").write_bytes(b"a coat")
    (tmp_path / "b").write_bytes(b"a hat")
    coat, hat, gone = Digest.of(b"a coat"), Digest.of(b"a hat"), Digest.of(b"gone")

    put = run("put", "a", "b", "missing", url=url)
    assert put.code == 1
    assert [line.split()[0] for line in put.out.splitlines()] == [f"blob:{coat}", f"blob:{hat}"]
    put = run("put", "--json", "a", "missing", "b", url=url)
    assert put.code == 1
    assert [item["path"] for item in json.loads(put.out)] == ["a"]

    pinned = run("pin", coat, gone, hat, url=url)
    assert (pinned.code, pinned.out) == (3, f"pinned {coat}\n")
    pinned = run("unpin", "--json", coat, gone, hat, url=url)
    assert (pinned.code, json.loads(pinned.out)) == (3, {"unpinned": [coat]})

    removed = run("rm", coat, gone, hat, url=url)
    assert (removed.code, removed.out) == (3, f"removed {coat}\n")
    removed = run("rm", "--json", hat, gone, url=url)
    assert (removed.code, [item["digest"] for item in json.loads(removed.out)]) == (3, [hat])


def test_a_blob_goes_to_standard_output_as_far_as_it_is_read(
    serve: Fixture, start: Fixture
) -> None:
    data = bytes(range(256)) * 20_000
    with Client(served := serve().url) as client:
        digest = client.put(data).digest
    whole = start("get", digest, url=served)
    assert whole.communicate(timeout=50) == (data, b"")
    assert whole.returncode == 0
    left = start("get", digest, url=served)
    assert left.stdout.read(7) == data[:7]
    left.stdout.close()
    assert left.stderr.read() == b""
    assert left.wait(50) == 1


def test_mistakes_are_named_without_a_traceback(
    serve: Fixture, run: Fixture, tmp_path: Path
) -> None:
    url = serve("max_blob_bytes = 1000").url
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "large").write_bytes(b"x" * 2000)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    for args, code, address in [
        (("put", "missing.png"), 1, url),
        (("put", "empty"), 1, url),
        (("put", "large"), 4, url),
        (("put",), 2, url),
        (("stat", "sha256:x"), 2, url),
        (("get", Digest.of(b"x"), "--json"), 2, url),
        (("nonsense",), 2, url),
        (("ls",), 5, nobody),
        (("serve", "--config", "missing.toml"), 1, url),
        (("serve", "--host", "192.0.2.1", "--port", "0", "--data", "d"), 1, url),
    ]:
        ran = run(*args, url=address)
        assert ran.code == code, (args, ran)
        assert ran.err
        assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ("port = 'x'", "port"),
        ("nonsense = 1", "nonsense"),
        ("port = ", "TOML"),
        ("[[upstream]]\nname = 'a'\nbase_url = 'ftp://x'", "upstream.0.base_url"),
        ("[[upstream]]\nname = 'a'\nbase_url = 'http://x'\ndialect = 'y'", "openai.chat"),
        ("[[upstream]]\nname='a'\nbase_url='http://x'\napi_key_env='NOT_SET_HERE'", "NOT_SET_HERE"),
    ],
)
def test_bad_settings_are_named(run: Fixture, tmp_path: Path, settings: str, named: str) -> None:
    (tmp_path / "s.toml").write_text(settings)
    ran = run("serve", "--config", "s.toml", "--data", "d")
    assert ran.code == 1
    assert named in ran.err
    assert "Traceback" not in ran.err


def test_doctor_says_what_is_wrong(serve: Fixture, run: Fixture, tmp_path: Path) -> None:
    port = serve().url.rpartition(":")[2]
    (tmp_path / "good.toml").write_text(f"port = {port}\ndata = 'data'")
    good = run("doctor", "--config", "good.toml")
    assert good.code == 0, good.out
    (tmp_path / "bad.toml").write_text(
        "port = 1\n[[upstream]]\nname = 'gone'\nbase_url = 'http://127.0.0.1:1/v1'"
    )
    bad = run("doctor", "--config", "bad.toml", "--json")
    assert bad.code == 1
    failed = {item["check"] for item in json.loads(bad.out) if not item["ok"]}
    assert failed == {"server", "upstream gone"}


def test_version_and_help(run: Fixture) -> None:
    assert "coatcheck, version" in run("--version").out
    shown = run("--help")
    assert all(name in shown.out for name in ("serve", "demo", "put", "get", "doctor"))
