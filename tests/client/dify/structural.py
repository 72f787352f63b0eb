"""graphon's file layer, as far as Coatcheck meets it, where graphon itself cannot be installed.

Who asks whom for what is as in graphon 0.7 and 0.8; `tests/dify` runs the same against those.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field

from coatcheck.client.dify.composing import PromptFile
from coatcheck.client.dify.file_runtime import RefFileRuntime

SIGNED = "https://files.example/files/{}/file-preview?sign=1"


@dataclass
class Content:
    """An item of a prompt."""

    base64_data: str
    url: str
    mime_type: str


@dataclass
class File:
    """A file of the application's; `runtime` is what graphon keeps in a registry."""

    runtime: "RefFileRuntime | Storage"
    related_id: str | None = "upload-1"
    transfer_method: str = "local_file"
    mime_type: str | None = "image/png"
    remote_url: str | None = None

    def generate_url(self, for_external: bool = True) -> str | None:
        return self.runtime.resolve_file_url(file=self, for_external=for_external)

    @property
    def markdown(self) -> str:
        return f"![]({self.generate_url()})"

    def to_plugin_parameter(self) -> dict[str, str | None]:
        return {"url": self.generate_url(for_external=False)}


def to_prompt_message_content(f: File, /, *, image_detail_config: str | None = None) -> Content:
    """Write a file into a prompt."""
    assert f.mime_type is not None
    form = f.runtime.multimodal_send_format
    data = f.runtime.load_file_bytes(file=f) if form == "base64" else b""
    url = f.generate_url() if form == "url" else ""
    assert url is not None
    return Content(base64.b64encode(data).decode(), url, f.mime_type)


class FileManager:
    """graphon's module of that name."""

    def __init__(self) -> None:
        self.to_prompt_message_content: Callable[..., object] = to_prompt_message_content

    def content(self, file: File) -> Content:
        made = self.to_prompt_message_content(file, image_detail_config="low")
        assert isinstance(made, Content)
        return made


@dataclass
class Storage:
    """The runtime that Dify has of its own, and what was asked of it."""

    multimodal_send_format: str = "base64"
    files: dict[str | None, bytes] = field(default_factory=dict[str | None, bytes])
    read: list[str | None] = field(default_factory=list[str | None])
    denied: set[str | None] = field(default_factory=set[str | None])
    files_url: str = "https://files.example"

    def load_file_bytes(self, *, file: PromptFile) -> bytes:
        self._admit(file)
        self.read.append(file.related_id)
        return self.files[file.related_id]

    def resolve_file_url(self, *, file: PromptFile, for_external: bool = True) -> str | None:
        if file.transfer_method == "remote_url":
            assert isinstance(file, File)
            return file.remote_url
        self._admit(file)
        return SIGNED.format(file.related_id) + ("" if for_external else "&internal=1")

    def _admit(self, file: PromptFile) -> None:
        if file.related_id in self.denied:
            raise ValueError(f"Upload file {file.related_id} not found")
