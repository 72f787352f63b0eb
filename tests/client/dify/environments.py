"""Virtual environments with a plugin SDK of a few lines, and a program that calls it."""

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SDK = {
    "dify_plugin/__init__.py": "",
    "dify_plugin/errors/__init__.py": "",
    "dify_plugin/errors/model.py": (
        "class InvokeError(Exception): pass\n"
        "class InvokeConnectionError(InvokeError): pass\n"
        "class InvokeBadRequestError(InvokeError): pass\n"
    ),
    "dify_plugin/core/__init__.py": "",
    "dify_plugin/core/plugin_executor.py": '''
class Model:
    def __init__(self, **fields):
        self.__dict__ |= fields

    def model_copy(self, *, update):
        return type(self)(**(self.__dict__ | update))


class PluginExecutor:
    """Answers with what it was asked, as SDK 0.1.0 echoes it."""

    def __init__(self):
        self.seen = []
        self.closed = 0

    def invoke_llm(self, session, data: Model):
        self.seen.append(data)
        if data.streams:
            return self.stream(data)
        return Model(prompt_messages=data.prompt_messages, text="whole")

    def stream(self, data):
        try:
            for text in ("one", "two", "three"):
                yield Model(prompt_messages=data.prompt_messages, text=text)
        finally:
            self.closed += 1

    def get_llm_num_tokens(self, session, data: Model):
        self.seen.append(data)
        return {"num_tokens": 7}

    def start_llm_polling(self, session, data: Model):
        self.seen.append(data)
        return Model(state="begun")
''',
}

_PROGRAM = """
import base64, hashlib, inspect, json, sys
from dify_plugin.core.plugin_executor import Model, PluginExecutor

method, requests = json.load(sys.stdin)
executor = PluginExecutor()
assert list(inspect.signature(getattr(executor, method)).parameters) == ["session", "data"]
for urls in requests:
    parts = [Model(type="text", data="What is it?")]
    parts += [Model(type="image", url=url, base64_data="", mime_type="image/png") for url in urls]
    said = [Model(content="Hello"), Model(content=parts), Model(content=None)]
    data = Model(prompt_messages=said, streams=True)
    told = {}
    try:
        answer = getattr(executor, method)("session", data)
        if inspect.isgenerator(answer):
            chunks = list(answer)
            told["text"] = " ".join(chunk.text for chunk in chunks)
            told["echoed"] = [len(chunk.prompt_messages) for chunk in chunks]
        seen = executor.seen[-1]
        held = seen.prompt_messages[1].content[1:]
        told["got"] = [
            [part.url, hashlib.sha256(base64.b64decode(part.base64_data, validate=True)).hexdigest()]
            for part in held
        ]
        told["shares"] = len({id(part.base64_data) for part in held})
        told["is_same"] = seen is data
        assert seen.prompt_messages[0] is said[0] and seen.prompt_messages[2] is said[2]
    except Exception as error:
        told["error"] = type(error).__name__
        told["message"] = str(error)
    told["left"] = [part.url for part in said[1].content[1:]]
    print(json.dumps(told))
"""


@dataclass(frozen=True)
class PluginEnvironment:
    """A virtual environment that Python takes for one."""

    folder: Path

    @property
    def packages(self) -> Path:
        """Its `site-packages`."""
        (found,) = self.folder.glob("lib/python3*/site-packages")
        return found

    async def run(self, *args: str, said: str = "") -> tuple[str, str]:
        """Run its interpreter, isolated; return what it printed. It must end with 0."""
        process = await asyncio.create_subprocess_exec(
            *(str(self.folder / "bin/python"), "-I", *args),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.defpath},
        )
        out, err = await process.communicate(said.encode())
        assert process.returncode == 0, err.decode()
        return out.decode(), err.decode()

    async def ask(
        self, *requests: Sequence[str], method: str = "invoke_llm"
    ) -> list[dict[str, Any]]:
        """Call the SDK with refs where URLs stand, a request for each; return what it told."""
        out, err = await self.run("-c", _PROGRAM, said=json.dumps([method, requests]))
        assert err == ""
        return [json.loads(line) for line in out.splitlines()]


def make_environment(folder: Path) -> PluginEnvironment:
    """Make one in no time, without pip."""
    packages = folder / f"lib/python3.{sys.version_info.minor}/site-packages"
    packages.mkdir(parents=True)
    base = Path(getattr(sys, "_base_executable", sys.executable))
    (folder / "bin").mkdir()
    (folder / "bin/python").symlink_to(base)
    (folder / "pyvenv.cfg").write_text(
        f"home = {base.parent}\ninclude-system-site-packages = false\n"
    )
    for name, text in _SDK.items():
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text(text)
    return PluginEnvironment(folder)


def tree_hash(folder: Path) -> str:
    """Return a hash of all names, kinds, modes and bytes below a folder."""
    hasher = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        hasher.update(f"{path.relative_to(folder)} {status.st_mode} ".encode())
        if path.is_symlink():
            hasher.update(os.readlink(path).encode())
        elif path.is_file():
            hasher.update(hashlib.sha256(path.read_bytes()).digest())
    return hasher.hexdigest()
