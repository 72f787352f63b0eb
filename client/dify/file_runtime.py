"""In Dify's API: prompts get refs in place of base64, and a file is read once for all turns.

A workflow-file runtime for graphon (0.7 and 0.8, Dify's own package) that wraps Dify's. An operator ends
`core/app/workflow/file_runtime.py` of the API with (graphon 0.7):

    from coatcheck import Client
    from coatcheck.client.dify.composing import mark_prompts
    from coatcheck.client.dify.file_refs import FileRefs
    from coatcheck.client.dify.file_runtime import RefFileRuntime
    from graphon.file import file_manager

    def bind_dify_workflow_file_runtime() -> None:
        own = DifyWorkflowFileRuntime(file_access_controller=DatabaseFileAccessController())
        store = Client("http://coatcheck:8420", "cck_...", connect_seconds=2, idle_seconds=20)
        mark_prompts(file_manager)
        set_workflow_file_runtime(RefFileRuntime(own, FileRefs(store)))

With graphon 0.8, which has no `set_workflow_file_runtime`, Dify asks `create_dify_workflow_file_runtime()` for
what `use_workflow_file_runtime` binds: wrap what that returns, with one `FileRefs` for all calls.

Whatever reads these prompts must take refs: a Coatcheck daemon before the plugin daemon, or the
hook in the plugins, and the store's key must be of the tenant that they resolve for.

What is not ours: remote URLs (what is behind one may change), files without a record's id, files that are
no part of a prompt, and whom a file is for. They go as the wrapped runtime sends them. One key stands for all
of Dify's tenants: who may have a file is asked of the wrapped runtime, on every turn.
"""

import logging
from typing import Protocol

from .composing import Composed, PromptFile, composed
from .file_refs import FileKey, FileRefs

_REMOTE = "remote_url"
_URL = "url"

_log = logging.getLogger(__name__)


class FileRuntime(Protocol):
    """Of graphon's `WorkflowFileRuntimeProtocol`, what is asked here."""

    @property
    def multimodal_send_format(self) -> str:
        """How prompts carry files: `base64` or `url`."""
        ...

    def load_file_bytes(self, *, file: PromptFile) -> bytes:
        """Read a file."""
        ...

    def resolve_file_url(self, *, file: PromptFile, for_external: bool = True) -> str | None:
        """Return a URL that opens a file, for whoever may have it."""
        ...


class RefFileRuntime:
    """A runtime that gives prompts refs, and is the wrapped one in everything else.

    Safe for threads and greenlets as the wrapped one is. Without `mark_prompts` it gives no refs.
    """

    def __init__(self, wrapped: FileRuntime, refs: FileRefs) -> None:
        self._wrapped = wrapped
        self._refs = refs
        self._has_warned = False

    def __getattr__(self, name: str) -> object:
        """Return what else the wrapped runtime has."""
        if name.startswith("__"):  # copying asks for these before there is anything wrapped
            raise AttributeError(name)
        value: object = getattr(self._wrapped, name)
        return value

    @property
    def multimodal_send_format(self) -> str:
        """Return `url` where the file of the prompt has a ref, else the wrapped runtime's word.

        graphon asks this first of all, once for each file of a prompt: here the file is put.

        Raises:
            what the wrapped runtime raises: the file cannot be read, or not by whoever asks.
        """
        call = composed()
        if call is None:
            self._warn()
        elif self._give_ref(call):
            return _URL
        return self._wrapped.multimodal_send_format

    def resolve_file_url(self, *, file: PromptFile, for_external: bool = True) -> str | None:
        """Return the ref of the file that is written into a prompt, or the wrapped runtime's URL."""
        call = composed()
        if for_external and call is not None and call.file is file and call.ref is not None:
            return str(call.ref)
        return self._wrapped.resolve_file_url(file=file, for_external=for_external)

    def load_file_bytes(self, *, file: PromptFile) -> bytes:
        """Read a file, unless that was done for this prompt, in vain."""
        call = composed()
        if call is not None and call.file is file and call.data is not None:
            return call.data
        return self._wrapped.load_file_bytes(file=file)

    def _give_ref(self, call: Composed) -> bool:
        file = call.file
        key = _key_of(file)
        # It says who may have the file, which a known digest does not.
        if key is None or self._wrapped.resolve_file_url(file=file, for_external=True) is None:
            return False

        def load() -> bytes:
            call.data = self._wrapped.load_file_bytes(file=file)
            return call.data

        call.ref = self._refs.ref(key, load, file.mime_type)
        return call.ref is not None

    def _warn(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            _log.warning("asked for a prompt's format outside of one: is mark_prompts called?")


def _key_of(file: PromptFile) -> FileKey | None:
    """Return what names a file's bytes: its record, which is written once; None: nothing does.

    Ids are unique for each kind of record, over all tenants. `File.id` is another's: the message's.
    """
    if file.transfer_method == _REMOTE or not file.related_id:
        return None
    return str(file.transfer_method), file.related_id
