"""Dify's own client side: graphon files become a prompt, and graphon reads what comes back.

Run in an environment of graphon's with one JSON line on standard input:
`daemon`, `key` and `plugin` (unique identifier); `invocation`, the `data` without prompt messages;
`turns`, each a list of messages `{"role", "text", "images": [path..]}`; `refs`, a map from an image's
path to the URL that stands for it (in a turn whose images all have one, graphon is told to send URLs);
`counts`, whether each turn's tokens are counted first.
Prints one JSON line for each turn: `request_bytes`, `files_read`, `chunks`, `text`, `usage`,
`prompt_messages` (the most that any chunk carried), `tokens`, `seconds`, or `error`.
SLIM_BINARY_PATH is in its environment.
"""

import contextlib
import json
import mimetypes
import sys
import time
from pathlib import Path

from graphon.dsl.slim.client import SlimClient, SlimClientConfig, SlimClientError
from graphon.file import runtime as file_runtime
from graphon.file.enums import FileTransferMethod, FileType
from graphon.file.file_manager import to_prompt_message_content
from graphon.file.models import File
from graphon.model_runtime.entities.llm_entities import LLMResultChunk
from graphon.model_runtime.entities.message_entities import (
    AssistantPromptMessage,
    SystemPromptMessage,
    TextPromptMessageContent,
    UserPromptMessage,
)
from graphon.model_runtime.utils.encoders import jsonable_encoder

ROLES = {
    "user": UserPromptMessage,
    "assistant": AssistantPromptMessage,
    "system": SystemPromptMessage,
}


class Runtime:
    """What Dify's API binds for graphon's files: here they are paths."""

    def __init__(self, refs):
        self.refs = refs
        self.multimodal_send_format = "base64"
        self.files_read = 0

    def begin(self, turn):
        images = [path for told in turn for path in told["images"]]
        has_refs = images and all(path in self.refs for path in images)
        self.multimodal_send_format = "url" if has_refs else "base64"

    def load_file_bytes(self, *, file):
        self.files_read += 1
        return Path(file.reference).read_bytes()

    def resolve_file_url(self, *, file, for_external=True):
        return self.refs[file.reference]

    def __getattr__(self, name):
        raise AssertionError(f"nobody asks for {name}")


def bound(runtime):
    """graphon 0.8 binds a runtime in a context, 0.7 sets one for the process."""
    if hasattr(file_runtime, "use_workflow_file_runtime"):
        return file_runtime.use_workflow_file_runtime(runtime)
    file_runtime.set_workflow_file_runtime(runtime)
    return contextlib.nullcontext()


def message(told):
    content = told["text"]
    if images := told.get("images"):
        content = [TextPromptMessageContent(data=content)]
        for path in images:
            mime_type = mimetypes.guess_type(path)[0]
            file = File(
                file_type=FileType.IMAGE,
                transfer_method=FileTransferMethod.LOCAL_FILE,
                reference=path,
                filename=Path(path).name,
                extension=Path(path).suffix,
                mime_type=mime_type,
                size=Path(path).stat().st_size,
            )
            content.append(to_prompt_message_content(file))
    return ROLES[told["role"]](content=content)


def run(client, wanted, turn, runtime):
    begun = time.monotonic()
    read_before = runtime.files_read
    runtime.begin(turn)
    data = {
        **wanted["invocation"],
        "prompt_messages": jsonable_encoder([message(told) for told in turn]),
    }
    facts = {"request_bytes": len(json.dumps({"data": data}))}
    call = {"plugin_id": wanted["plugin"], "data": data}
    try:
        if wanted.get("counts"):
            counted = client.invoke_unary(action="get_llm_num_tokens", **call)
            facts["tokens"] = counted["num_tokens"]
        chunks = [
            LLMResultChunk.model_validate(said)
            for said in client.invoke_chunks(action="invoke_llm", **call)
        ]
    except SlimClientError as error:
        return facts | {"error": error.message}
    usage = chunks[-1].delta.usage
    return facts | {
        "files_read": runtime.files_read - read_before,
        "chunks": len(chunks),
        "text": "".join(chunk.delta.message.content for chunk in chunks),
        "usage": usage and usage.total_tokens,
        "prompt_messages": max(len(chunk.prompt_messages) for chunk in chunks),
        "seconds": time.monotonic() - begun,
    }


def main():
    wanted = json.loads(sys.stdin.readline())
    folder = Path(wanted["folder"])
    config = SlimClientConfig(
        folder=folder, mode="remote", daemon_addr=wanted["daemon"], daemon_key=wanted["key"]
    )
    client = SlimClient(config)
    runtime = Runtime(wanted.get("refs") or {})
    with bound(runtime):
        for turn in wanted["turns"]:
            print(json.dumps(run(client, wanted, turn, runtime)), flush=True)


main()
