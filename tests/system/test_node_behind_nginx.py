"""Applications in Node behind an edge, and between it and the daemon an nginx that nobody set up.

Its default limit for bodies is one megabyte: a conversation with some images is over that on its own,
and so is one large image.
"""

import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bench.agent import (
    DIALECTS,
    Role,
    Step,
    chaining,
    node_command,
    providing,
    running_program,
)
from bench.agent.service import free_port

from ..clients.environments import NODE, NODE_MODULES, require
from .conversing import Album, agent, take
from .test_behind_nginx import program

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

NIGHTLY = bool(os.environ.get("COATCHECK_NIGHTLY"))
IMAGES = 30
IMAGE_BYTES = 60_000
LARGE_IMAGE_BYTES = 1_300_000
_CONF = """
daemon off;
{user}
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass {url}; }}
    }}
}}
"""


@asynccontextmanager
async def plain_nginx(folder: Path, url: str) -> AsyncGenerator[str]:
    """Run an nginx that passes everything on, and has no other setting."""
    port = free_port()
    await asyncio.to_thread(configure, folder, url, port)
    nginx = program("nginx", "nginx-light")
    process = await asyncio.create_subprocess_exec(
        nginx, "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")
    )
    try:
        async with asyncio.timeout(20):
            while not await listens(port):
                assert process.returncode is None, (folder / "error.log").read_text("utf-8")
                await asyncio.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


def configure(folder: Path, url: str, port: int) -> None:
    folder.mkdir()
    user = "user root;" if os.geteuid() == 0 else ""  # its workers could not enter the folder
    conf = _CONF.format(folder=folder, port=port, url=url, user=user)
    (folder / "nginx.conf").write_text(conf, "utf-8")


async def listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@pytest.mark.parametrize("dialect", DIALECTS if NIGHTLY else DIALECTS[:1])
async def test_thirty_images_and_a_large_one_pass(tmp_path: Path, dialect: str) -> None:
    small, large = Album(tmp_path, IMAGE_BYTES), Album(tmp_path / "large", LARGE_IMAGE_BYTES)
    large.folder.mkdir()
    front = tmp_path / "nginx"
    script = [
        Step((f"turn {turn}", "again"), (small.next(), small.next(), small.next()), turn % 2 == 1)
        for turn in range(IMAGES // 3)
    ]
    script.append(Step(("a large one", "again"), (large.next(),), is_streamed=False))
    async with (
        providing() as twins,
        chaining(tmp_path, "edge", front=lambda url: plain_nginx(front, url)) as chain,
    ):
        twin = agent(Role(dialect, twins.url))
        expected = [await take(twin, step) for step in script]
        twin.client.close()
        command = node_command(NODE, require(NODE_MODULES).folder)
        role = Role(dialect, chain.url)
        async with running_program(command, role, tmp_path / "node.log") as application:
            told = [await application.take(step) for step in script]
        assert [each.text or each.words for each in told] == [each.text for each in expected]
        assert chain.provider.seen == twins.seen
    log = (front / "access.log").read_text("utf-8")
    assert log.count("POST /v1/") >= len(script)
    if '" 413 ' in log:
        print(
            f"\n{log.count(chr(34) + ' 413 ')} bodies were refused on the way, and sent otherwise"
        )
