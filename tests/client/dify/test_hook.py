"""The hook in real interpreters: what it is told, what it fetches, and what it leaves alone."""

import ast
import asyncio
import json
import random
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from coatcheck.api import face
from coatcheck.client.dify import HookConfig, hook, place
from coatcheck.protocol import Digest
from coatcheck.store import Store, StoreConfig
from coatcheck.web import Principal, Server, build_app, join_faces, listen

from .environments import PluginEnvironment, make_environment

ALICE, BOB = (f"cck_{name * 8}_{'k' * 40}" for name in "ab")
PNG = b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(400_001)
SMALL = b"\x89PNG\r\n\x1a\n" + bytes(range(100))
ABSENT = f"blob:sha256:{'0' * 64}"


class Keyring:
    """Keys of two tenants."""

    is_open = False

    async def identify(self, secret: str | None) -> Principal | None:
        return {ALICE: Principal("a"), BOB: Principal("b")}.get(secret or "")


def ref_of(data: bytes) -> str:
    return f"blob:{Digest.of(data)}"


@dataclass
class Served:
    """A store of Alice's blobs, at a port and at a socket."""

    store: Store
    url: str
    socket: Path


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with await Store.open(StoreConfig(data_folder=None)) as store:
        table = join_faces([face(store)], title="Coatcheck", version="1")
        server = Server(build_app(table, keyring=Keyring()))
        listening = await listen("127.0.0.1", 0, tmp_path / "socket")
        await server.serve(listening.sockets)
        for data in (PNG, SMALL):
            await put(store, data)
        yield Served(store, listening.address.url, tmp_path / "socket")
        await server.stop(0)
        listening.close()


async def put(store: Store, data: bytes) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield data

    await store.receive("a", chunks())


@pytest.fixture
def plugin(tmp_path: Path) -> PluginEnvironment:
    return make_environment(tmp_path / "venv")


def give(plugin: PluginEnvironment, **given: Any) -> None:
    """Place the hook; what is given is its configuration."""
    (placed,) = place(plugin.folder, HookConfig(**given))
    assert placed.state in ("placed", "replaced")


def write_config(plugin: PluginEnvironment, text: str) -> Path:
    path = plugin.packages / "coatcheck_dify_hook" / hook.CONFIG_NAME
    path.write_text(text)
    return path


def hashes(*blobs: bytes) -> list[list[str]]:
    """What the plugin has of refs that were resolved: no URL, and these bytes."""
    return [["", Digest.of(data).hex] for data in blobs]


async def test_an_interpreter_that_starts_imports_nothing_more(plugin: PluginEnvironment) -> None:
    program = "import sys; print(sorted(sys.modules))"
    before, _ = await plugin.run("-c", program)
    give(plugin, socket=Path("/nowhere"))
    after, said = await plugin.run("-c", program)
    assert said == ""
    more = set(ast.literal_eval(after)) - set(ast.literal_eval(before))
    assert more == {"__future__", "coatcheck_dify_hook"}


@pytest.mark.parametrize("way", ["port", "socket"])
async def test_refs_become_bytes_on_a_copy(
    served: Served, plugin: PluginEnvironment, way: str
) -> None:
    where = {"daemon": served.url} if way == "port" else {"socket": served.socket}
    give(plugin, key=ALICE, **where)
    refs = [ref_of(PNG), f"{ref_of(SMALL)}?type=image/png", ref_of(PNG)]
    (told,) = await plugin.ask(refs)
    assert told == {
        "got": hashes(PNG, SMALL, PNG),
        "shares": 2,  # one image is held once however often it is named
        "text": "one two three",
        "echoed": [0, 0, 0],
        "is_same": False,
        "left": refs,
    }


@pytest.mark.parametrize("method", ["get_llm_num_tokens", "start_llm_polling"])
async def test_tokens_and_polling_have_bytes_too(
    served: Served, plugin: PluginEnvironment, method: str
) -> None:
    give(plugin, key=ALICE, socket=served.socket)
    (told,) = await plugin.ask([ref_of(SMALL)], method=method)
    assert told["got"] == hashes(SMALL)


async def test_without_refs_nothing_is_read_and_nothing_copied(plugin: PluginEnvironment) -> None:
    give(plugin, socket=Path("/nowhere"))
    write_config(plugin, "{not JSON")
    url = "https://example.com/a.png"
    text_only, with_url, with_ref = await plugin.ask([], [url, "blob:https://a/b"], [ABSENT])
    assert text_only["is_same"]
    assert text_only["echoed"] == [3, 3, 3]
    assert with_url["is_same"]
    assert with_ref["error"] == "InvokeBadRequestError"
    assert "hook_config_invalid" in with_ref["message"]


async def test_all_that_is_missing_is_named_at_once(
    served: Served, plugin: PluginEnvironment
) -> None:
    give(plugin, key=ALICE, socket=served.socket)
    other = f"blob:sha256:{'1' * 64}"
    told, foreign = await plugin.ask([ABSENT, ref_of(PNG), other], [ref_of(PNG)])
    assert told["error"] == "InvokeBadRequestError"
    assert told["message"] == (
        f"coatcheck: blob_not_found: {ABSENT[5:]} at data.prompt_messages.1.content.1.url, "
        f"{other[5:]} at data.prompt_messages.1.content.3.url"
    )
    assert foreign["got"] == hashes(PNG)
    give(plugin, key=BOB, socket=served.socket)  # a digest alone opens nothing
    (told,) = await plugin.ask([ref_of(PNG)])
    assert "blob_not_found" in told["message"]


async def test_malformed_refs_are_named(plugin: PluginEnvironment) -> None:
    give(plugin, socket=Path("/nowhere"))
    for told in await plugin.ask([ABSENT[:-1]], [f"{ABSENT}0"], [" " + ABSENT], [ABSENT.upper()]):
        assert told["error"] == "InvokeBadRequestError"
        assert told["message"].startswith("coatcheck: ref_invalid: ")


async def test_a_wrong_key_is_refused_and_never_repeated(
    served: Served, plugin: PluginEnvironment
) -> None:
    wrong = f"cck_{'c' * 8}_{'w' * 40}"
    give(plugin, key=wrong, daemon=served.url)
    (told,) = await plugin.ask([ref_of(PNG)])
    assert told["error"] == "InvokeBadRequestError"
    assert "daemon_refused: it answers 401" in told["message"]
    path = write_config(plugin, json.dumps({"daemon": served.url, "key": "a\r\nsecret"}))
    (told,) = await plugin.ask([ref_of(PNG)])
    assert told["message"] == (
        f"coatcheck: hook_config_invalid: {path}: key is not what it has to be"
    )


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "one of socket, daemon and cache"),
        ({"socket": "/a", "daemon": "http://b"}, "not both"),
        ({"socket": "relative"}, "socket is not"),
        ({"daemon": "https://a"}, "daemon is not"),
        ({"daemon": "http://a/path"}, "daemon is not"),
        ({"daemon": "http://a:port"}, "daemon is not"),
        ({"daemon": "http://a:99999"}, "daemon is not"),
        ({"daemon": "http://a..b"}, "daemon is not"),
        ({"daemon": f"http://{'a' * 64}"}, "daemon is not"),
        ({"daemon": "http://a\nb:80"}, "daemon is not"),
        ({"daemon": "http://a/#"}, "daemon is not"),
        ({"daemon": "http://a?"}, "daemon is not"),
        ({"socket": "/a", "total_seconds": 0}, "total_seconds is not"),
        ({"socket": "/a", "total_seconds": True}, "total_seconds is not"),
        ({"socket": "/a", "splice": 1}, "splice is not"),
        ({"socket": "/a", "key": "a\r\nb"}, "key is not"),
        ({"socket": "/a", "sockets": "/b"}, "'sockets' is no name"),
    ],
)
def test_what_is_wrong_with_a_configuration_is_said(given: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        hook.check_config(given)


@pytest.mark.parametrize(
    "url", ["http://a", "http://a.b-c_d:8420/", "http://127.0.0.1:1", "http://[::1]:8420"]
)
def test_what_a_daemon_is_called(url: str) -> None:
    hook.check_config({"daemon": url})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[" * 60_000, "it answers 400"),
        (b'{"code": ["x"]}', "it answers 400"),
        (b'{"code": "%b"}' % (b"x" * 60_000), f"it answers 400 {'x' * 64}"),
    ],
)
async def test_what_a_refusal_tells_is_bounded(
    plugin: PluginEnvironment, run_recorder: Callable[[], Any], body: bytes, said: str
) -> None:
    recorder = run_recorder()
    recorder.answer = answer(body, "400 Bad Request")
    give(plugin, daemon=recorder.url)
    (told,) = await plugin.ask([ABSENT])
    assert told["message"].endswith(said)


async def test_a_configuration_that_is_not_there_is_said(plugin: PluginEnvironment) -> None:
    give(plugin, socket=Path("/nowhere"))
    for text, reason in (("[]", "it is no JSON object"), ("", "No such file or directory")):
        path = write_config(plugin, text)
        if not text:
            path.unlink()
        (told,) = await plugin.ask([ABSENT])
        assert told["error"] == "InvokeBadRequestError"
        assert told["message"] == f"coatcheck: hook_config_invalid: {path}: {reason}"


async def test_nobody_listens(plugin: PluginEnvironment, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    for where in ({"socket": tmp_path / "none"}, {"daemon": url}):
        give(plugin, **where)
        (told,) = await plugin.ask([ABSENT, ref_of(PNG)])
        assert told["error"] == "InvokeConnectionError"
        assert told["message"].startswith("coatcheck: daemon_unavailable: ")


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"])
async def test_a_daemon_that_hangs_is_left_in_time(plugin: PluginEnvironment, says: bytes) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(says)
            while await reader.read(1):
                writer.write(b"x")
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        give(plugin, daemon=f"http://{host}:{port}", total_seconds=0.3)
        begun = time.monotonic()
        (told,) = await plugin.ask([ABSENT, ref_of(PNG), ref_of(SMALL)])
    assert (told["error"], time.monotonic() - begun < 5) == ("InvokeConnectionError", True)
    assert "daemon_unavailable" in told["message"]


def answer(data: bytes, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\n{more}\r\n".encode() + data


async def test_other_bytes_never_reach_the_plugin(
    plugin: PluginEnvironment, run_recorder: Callable[[], Any]
) -> None:
    recorder = run_recorder()
    give(plugin, daemon=recorder.url)
    recorder.answer = answer(SMALL[:-1] + b"x")
    (told,) = await plugin.ask([ref_of(SMALL)])
    assert told["error"] == "InvokeConnectionError"
    assert told["message"].startswith("coatcheck: digest_mismatch: ")
    assert len(recorder.seen) == 2
    recorder.answers, recorder.answer = [answer(SMALL[:-1])], answer(SMALL)
    (told,) = await plugin.ask([ref_of(SMALL)])  # right at the second try
    assert told["got"] == hashes(SMALL)


async def test_connections_may_end_after_and_within_an_answer(
    plugin: PluginEnvironment, run_recorder: Callable[[], Any]
) -> None:
    recorder = run_recorder()
    recorder.hangs_up = True
    give(plugin, daemon=recorder.url)
    for more in ("", "Connection: close\r\n"):
        recorder.answers = [answer(SMALL, more=more)[:-5], answer(SMALL, more=more)]
        (told,) = await plugin.ask([ref_of(SMALL)])
        assert told["got"] == hashes(SMALL)
    recorder.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6c\r\n%b\r\n0\r\n\r\n"
    recorder.answer %= SMALL
    (told,) = await plugin.ask([ref_of(SMALL)])
    assert told["got"] == hashes(SMALL)
    assert len(SMALL) == 0x6C
    assert recorder.seen[-1].get("Host") == [recorder.url.removeprefix("http://")]


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        ("503 Service Unavailable", "InvokeConnectionError", "503 store_unavailable"),
        ("429 Too Many Requests", "InvokeConnectionError", "429 store_unavailable"),
        ("404 Not Found", "InvokeBadRequestError", "404 store_unavailable"),
    ],
)
async def test_refusals_are_of_the_kind_that_they_are(
    plugin: PluginEnvironment,
    run_recorder: Callable[[], Any],
    status: str,
    kind: str,
    said: str,
) -> None:
    recorder = run_recorder()
    recorder.answer = answer(b'{"code": "store_unavailable"}', status)
    give(plugin, daemon=recorder.url)
    (told,) = await plugin.ask([ABSENT])
    assert told["error"] == kind
    assert told["message"].endswith(f"it answers {said}")
    assert len(recorder.seen) == 1


async def test_too_large_a_blob_is_refused_before_it_is_read(
    served: Served, plugin: PluginEnvironment
) -> None:
    give(plugin, key=ALICE, socket=served.socket)
    given = {"socket": str(served.socket), "key": ALICE, "max_blob_bytes": 1000}
    write_config(plugin, json.dumps(given))
    small, large = await plugin.ask([ref_of(SMALL)], [ref_of(PNG)])
    assert small["got"] == hashes(SMALL)
    assert large["error"] == "InvokeBadRequestError"
    assert f"has {len(PNG)} bytes, over 1000" in large["message"]


async def test_many_refs_are_fetched_by_four_at_once(
    served: Served, plugin: PluginEnvironment
) -> None:
    blobs = [PNG[:-number] for number in range(1, 21)]
    for data in blobs:
        await put(served.store, data)
    give(plugin, key=ALICE, daemon=served.url)
    (told,) = await plugin.ask([ref_of(data) for data in blobs])
    assert told["got"] == hashes(*blobs)


_PEAK = """
import json, sys
import concurrent.futures, hashlib, http.client, socket, urllib.parse  # as the SDK does
from dify_plugin.core.plugin_executor import Model, PluginExecutor
executor, peaks = PluginExecutor(), []
for urls in ([], json.load(sys.stdin)):
    parts = [Model(url=url, base64_data="") for url in urls]
    data = Model(prompt_messages=[Model(content=parts)], streams=False)
    executor.invoke_llm("session", data)
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    peaks.append(int(status["VmHWM"].split()[0]) * 1024)  # ru_maxrss is the parent's too
held = executor.seen[1].prompt_messages[0].content
print(json.dumps([*peaks, sum(len(part.base64_data) for part in held)]))
"""


async def test_the_peak_is_the_base64_of_one_requests_images(
    served: Served, plugin: PluginEnvironment
) -> None:
    large = random.Random(2).randbytes(2_600_000)
    blobs = [bytes([number]) + large for number in range(15)]
    for data in blobs:
        await put(served.store, data)
    give(plugin, key=ALICE, socket=served.socket)
    refs = json.dumps([ref_of(data) for data in blobs])
    said, _ = await plugin.run("-c", _PEAK, said=refs)
    text_only, peak, held = json.loads(said)
    size = sum(map(len, blobs))
    assert held == sum(-(-len(data) // 3) * 4 for data in blobs)
    assert 1.3 * size < peak - text_only < 1.5 * size, (peak - text_only) / size


class TestByPath:
    """The cache's files, where the operator says so."""

    @pytest.fixture
    def copies(self, tmp_path: Path) -> Path:
        folder = tmp_path / "cache/blobs"
        folder.mkdir(parents=True)
        (folder / Digest.of(PNG).hex).write_bytes(PNG)
        return folder

    async def test_a_whole_copy_needs_no_daemon(
        self, plugin: PluginEnvironment, copies: Path
    ) -> None:
        give(plugin, cache=copies.parent, socket=Path("/nowhere"))
        (told,) = await plugin.ask([ref_of(PNG)])
        assert told["got"] == hashes(PNG)

    async def test_what_is_no_whole_copy_is_fetched(
        self, served: Served, plugin: PluginEnvironment, copies: Path, tmp_path: Path
    ) -> None:
        (copies / Digest.of(PNG).hex).write_bytes(PNG[:-1] + b"x")
        (copies / Digest.of(SMALL).hex).mkdir()
        (tmp_path / "elsewhere").write_bytes(PNG[:-1])
        (copies / Digest.of(PNG[:-1]).hex).symlink_to(tmp_path / "elsewhere")
        await put(served.store, PNG[:-1])
        give(plugin, cache=copies.parent, daemon=served.url, key=ALICE)
        blobs = (PNG, SMALL, PNG[:-1])
        (told,) = await plugin.ask([ref_of(data) for data in blobs])
        assert told["got"] == hashes(*blobs)

    async def test_alone_it_has_what_it_has(self, plugin: PluginEnvironment, copies: Path) -> None:
        give(plugin, cache=copies.parent)
        (copies / Digest.of(SMALL).hex).write_bytes(PNG)
        found, damaged = await plugin.ask([ref_of(PNG)], [ref_of(SMALL), ABSENT])
        assert found["got"] == hashes(PNG)
        assert damaged["error"] == "InvokeBadRequestError"
        assert f"blob_not_found: {Digest.of(SMALL)} at" in damaged["message"]
        assert ABSENT[5:] in damaged["message"]


async def test_another_sdk_is_left_alone_and_that_is_said(plugin: PluginEnvironment) -> None:
    give(plugin, socket=Path("/nowhere"))
    (plugin.packages / "dify_plugin/core/plugin_executor.py").write_text("class Other: pass\n")
    out, said = await plugin.run(
        "-c", "import dify_plugin.core.plugin_executor as e; print(e.Other)"
    )
    assert "Other" in out
    assert said == "coatcheck: no invoke_llm in this dify_plugin, so refs stay refs\n"


async def test_a_module_that_is_missing_fails_no_plugin(plugin: PluginEnvironment) -> None:
    give(plugin, socket=Path("/nowhere"))
    (plugin.packages / "coatcheck_dify_hook/executor.py").unlink()
    out, said = await plugin.run(
        "-c", "import dify_plugin.core.plugin_executor as e; print(e.PluginExecutor)"
    )
    assert "PluginExecutor" in out
    assert said.startswith("coatcheck: No module named 'coatcheck_dify_hook.executor'")


async def test_two_lines_in_a_plugins_main_do_it_too(
    served: Served, plugin: PluginEnvironment, tmp_path: Path
) -> None:
    config = tmp_path / "hook.json"
    config.write_bytes(HookConfig(socket=served.socket, key=ALICE).written())
    shutil.copytree(Path(hook.__file__).parent, plugin.packages / "coatcheck_dify_hook")
    program = """
import sys
from dify_plugin.core.plugin_executor import Model, PluginExecutor
import coatcheck_dify_hook
coatcheck_dify_hook.install(sys.argv[1])
once = PluginExecutor.invoke_llm
coatcheck_dify_hook.install("/another")
assert PluginExecutor.invoke_llm is once
part = Model(url=sys.argv[2], base64_data="")
data = Model(prompt_messages=[Model(content=[part])], streams=False)
executor = PluginExecutor()
assert executor.invoke_llm("session", data).prompt_messages == []
print(len(executor.seen[0].prompt_messages[0].content[0].base64_data))
stream = executor.invoke_llm("session", data.model_copy(update={"streams": True}))
next(stream)
stream.close()
assert executor.closed == 1
"""
    out, said = await plugin.run("-c", program, str(config), ref_of(SMALL))
    assert (out, said) == ("144\n", "")


@pytest.mark.parametrize(
    "path", sorted(Path(hook.__file__).parent.glob("*.py")), ids=lambda p: p.name
)
def test_a_module_needs_python_3_10_and_its_neighbours_alone(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"), feature_version=(3, 10))
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level < 2
            if not node.level:
                imported.add((node.module or "").partition(".")[0])
    assert imported <= sys.stdlib_module_names
