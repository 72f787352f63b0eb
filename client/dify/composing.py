"""Which file is being written into a prompt: what graphon does not tell its runtime.

graphon asks its workflow-file runtime for a file's URL in the same words for an LLM's prompt, for
the markdown and the JSON that an answer shows to a browser, and for a template's `{{file.url}}`: all with
`for_external=True`, and a tool's parameter alone with False. Only the first may be a ref. It comes from one
function, `graphon.file.file_manager.to_prompt_message_content`, which all of graphon and of
Dify call as an attribute of its module. `mark_prompts` puts one in its place that does the same and
says, for that call and in that thread or greenlet, which file it is about.

Where something calls the function otherwise, nothing is marked, and no ref is given.
"""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import update_wrapper
from typing import Final, Protocol

from coatcheck.protocol import Ref


class PromptFile(Protocol):
    """Of graphon's `File`, what is asked here."""

    @property
    def related_id(self) -> str | None:
        """The id of the file's record in the application's database."""
        ...

    @property
    def transfer_method(self) -> str:
        """Where it is: `local_file`, `tool_file`, `datasource_file`, or `remote_url`."""
        ...

    @property
    def mime_type(self) -> str | None:
        """What the application takes it for."""
        ...


class FileManager(Protocol):
    """Of graphon's module `graphon.file.file_manager`, what is replaced here."""

    to_prompt_message_content: Callable[..., object]


@dataclass(slots=True)
class Composed:
    """One call: its file, the ref that it is to get, and its bytes, where they were read already."""

    file: PromptFile
    ref: Ref | None = None
    data: bytes | None = None


_COMPOSED: Final[ContextVar[Composed | None]] = ContextVar("coatcheck_composed", default=None)


def composed() -> Composed | None:
    """Return the call that this thread or greenlet is in; None outside of any."""
    return _COMPOSED.get()


class MarkedFunction:
    """Does what `plain` does, and says meanwhile which file it is about."""

    def __init__(self, plain: Callable[..., object]) -> None:
        self.plain = plain
        update_wrapper(self, plain)

    def __call__(self, file: PromptFile, /, **options: object) -> object:
        """Call `plain` with the same arguments.

        Raises:
            what `plain` raises.
        """
        token = _COMPOSED.set(Composed(file))
        try:
            return self.plain(file, **options)
        finally:
            _COMPOSED.reset(token)


def mark_prompts(file_manager: FileManager) -> None:
    """Let a `RefFileRuntime` know what is for a prompt. May be called twice.

    `file_manager` is the module `graphon.file.file_manager`.
    """
    plain = file_manager.to_prompt_message_content
    if not isinstance(plain, MarkedFunction):
        file_manager.to_prompt_message_content = MarkedFunction(plain)


def unmark_prompts(file_manager: FileManager) -> None:
    """Put graphon's own function back. May be called twice."""
    marked = file_manager.to_prompt_message_content
    if isinstance(marked, MarkedFunction):
        file_manager.to_prompt_message_content = marked.plain
