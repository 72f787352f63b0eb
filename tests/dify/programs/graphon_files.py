"""Dify's files in prompts, with Coatcheck's runtime around one such as Dify's own.

Run in an environment of graphon's, with Coatcheck to be imported, and one JSON line on standard input:
`store` (its URL), `away` (a URL where nobody listens), `folder` with the files a.png, b.pdf, c.mp3,
d.mp4 and e.png. Prints what happened, as JSON; `test_graphon_files.py` says what it has to be.
"""

import contextlib
import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from graphon.file import file_manager
from graphon.file import runtime as file_runtime
from graphon.file.enums import FileAttribute, FileTransferMethod, FileType
from graphon.file.models import File
from graphon.model_runtime.entities.message_entities import (
    ImagePromptMessageContent,
    TextPromptMessageContent,
    UserPromptMessage,
)
from graphon.model_runtime.utils.encoders import jsonable_encoder
from graphon.nodes.llm import llm_utils

from coatcheck import Client
from coatcheck.client.dify.composing import mark_prompts, unmark_prompts
from coatcheck.client.dify.file_refs import FileRefs
from coatcheck.client.dify.file_runtime import RefFileRuntime

LOCAL, TOOL = FileTransferMethod.LOCAL_FILE, FileTransferMethod.TOOL_FILE
KINDS = {
    "a.png": (FileType.IMAGE, "image/png", LOCAL),
    "b.pdf": (FileType.DOCUMENT, "application/pdf", FileTransferMethod.DATASOURCE_FILE),
    "c.mp3": (FileType.AUDIO, "audio/mpeg", TOOL),
    "d.mp4": (FileType.VIDEO, "video/mp4", LOCAL),
    "e.png": (FileType.IMAGE, "image/png", LOCAL),
}


class Storage:
    """What Dify's API binds: files by the id of their record."""

    def __init__(self, folder, form="base64"):
        self.folder = folder
        self.multimodal_send_format = form
        self.reads = []
        self.lock = threading.Lock()

    def load_file_bytes(self, *, file):
        with self.lock:
            self.reads.append(file.related_id)
        return (self.folder / file.related_id).read_bytes()

    def resolve_file_url(self, *, file, for_external=True):
        if file.transfer_method == FileTransferMethod.REMOTE_URL:
            return file.remote_url
        host = "files.example" if for_external else "api"
        return f"https://{host}/files/{file.related_id}/file-preview?sign=1"

    def verify_preview_signature(self, **said):
        return said["sign"] == "1"


@contextlib.contextmanager
def bound(runtime):
    """graphon 0.8 binds a runtime in a context, 0.7 sets one for the process."""
    if hasattr(file_runtime, "use_workflow_file_runtime"):
        with file_runtime.use_workflow_file_runtime(runtime):
            yield
    else:
        file_runtime.set_workflow_file_runtime(runtime)
        yield


def a_file(name):
    """A file as Dify makes it anew for every turn: `id` is the message's, the record is in `reference`."""
    kind, mime_type, method = KINDS[name]
    return File(
        file_type=kind,
        transfer_method=method,
        reference=name,
        filename=name,
        extension=Path(name).suffix,
        mime_type=mime_type,
    )


def prompt(*names):
    """The last message of a prompt, made as graphon's LLM node makes it, and as JSON."""
    messages = [UserPromptMessage(content=[TextPromptMessageContent(data="What is this?")])]
    llm_utils._append_file_prompts(
        prompt_messages=messages,
        files=[a_file(name) for name in names],
        vision_enabled=True,
        vision_detail=ImagePromptMessageContent.DETAIL.HIGH,
    )
    return jsonable_encoder(messages)


def contents(*names):
    return [item for item in prompt(*names)[0]["content"] if item["type"] != "text"]


def size(*names):
    return len(json.dumps(prompt(*names)))


def elsewhere(name):
    """All that graphon says of a file where it is no part of a prompt."""
    file = a_file(name)
    return {
        "plugin_parameter": file.to_plugin_parameter()["url"],
        "to_dict": file.to_dict()["url"],
        "markdown": file.markdown,
        "attribute": file_manager.get_attr(file=file, attr=FileAttribute.URL),
        "generate_url": file.generate_url(),
    }


def turns(folder, client):
    """Two turns, all kinds, what is no prompt, and a blob that the store has lost."""
    storage, now = Storage(folder), [0.0]
    runtime = RefFileRuntime(storage, FileRefs(client, checked_seconds=300, clock=lambda: now[0]))
    said = {}
    with bound(storage):
        said["plain_bytes"] = size("a.png")
        storage.reads.clear()
    with bound(runtime):
        said["ref_bytes"] = [size("a.png"), size("a.png")]
        said["reads"] = list(storage.reads)
        said["contents"] = contents(*KINDS)
        said["elsewhere"] = elsewhere("a.png")
        remote = File(
            file_type=FileType.IMAGE,
            transfer_method=FileTransferMethod.REMOTE_URL,
            remote_url="https://example.org/coat.png",
            extension=".png",
            mime_type="image/png",
        )
        storage.multimodal_send_format = "url"
        said["remote"] = file_manager.to_prompt_message_content(remote).url
        storage.reads.clear()
        (lost,) = contents("a.png")
        client.delete(lost["url"])
        now[0] = 300.0
        said["again"] = [contents("a.png") == [lost] for _ in range(2)]
        said["reads_again"] = list(storage.reads)
        said["is_there_again"] = client.stat(lost["url"]) is not None
        said["delegated"] = runtime.verify_preview_signature(sign="1")
    return said


def at_once(folder, client):
    """Eight threads write one file into prompts, and meanwhile say what its URL is for a browser."""
    storage = Storage(folder)
    runtime = RefFileRuntime(storage, FileRefs(client))
    start = threading.Barrier(8)

    def one(_):
        with bound(runtime):
            start.wait(20)
            return [(contents("e.png")[0]["url"], a_file("e.png").markdown) for _ in range(20)]

    with ThreadPoolExecutor(8) as pool:
        answers = {answer for answers in pool.map(one, range(8)) for answer in answers}
    return {"answers": sorted(answers), "reads": storage.reads}


def without_a_store(folder, away):
    """The same as the plain runtime's, in both forms."""
    same = []
    for form in ("base64", "url"):
        storage = Storage(folder, form)
        with bound(storage):
            plain = prompt("a.png", "e.png")
        runtime = RefFileRuntime(storage, FileRefs(Client(away)))
        with bound(runtime):
            same += [prompt("a.png", "e.png") == plain for _ in range(2)]
    return same


def main():
    wanted = json.loads(sys.stdin.readline())
    folder = Path(wanted["folder"])
    own = file_manager.to_prompt_message_content
    mark_prompts(file_manager)
    with Client(wanted["store"]) as client:
        said = {
            **turns(folder, client),
            "at_once": at_once(folder, client),
            "without_a_store": without_a_store(folder, wanted["away"]),
        }
    unmark_prompts(file_manager)
    said["is_unmarked"] = file_manager.to_prompt_message_content is own
    print(json.dumps(said))


main()
