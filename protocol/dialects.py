"""The dialects there are. Adding one adds a module and a line here."""

from collections.abc import Mapping
from types import MappingProxyType

from .anthropic_messages import AnthropicMessages
from .dialect import Dialect
from .dify_llm import DifyLlm
from .errors import UnknownDialectError
from .gemini_generate import GeminiGenerate
from .openai_chat import OpenAIChat
from .openai_responses import OpenAIResponses

_ALL: tuple[Dialect, ...] = (
    OpenAIChat(),
    OpenAIResponses(),
    AnthropicMessages(),
    GeminiGenerate(),
    DifyLlm(),
)

DIALECTS: Mapping[str, Dialect] = MappingProxyType({dialect.name: dialect for dialect in _ALL})


def dialect(name: str) -> Dialect:
    """Return the dialect with this name.

    Raises:
        UnknownDialectError: there is none.
    """
    try:
        return DIALECTS[name]
    except KeyError as error:
        known = ", ".join(DIALECTS)
        raise UnknownDialectError(f"no dialect {name[:80]!r}; there are: {known}") from error


def turn_dialect(method: str, path: str) -> str | None:
    """Return the dialect of the turns that a path takes; None where it takes none."""
    if method != "POST":
        return None
    for name, spoken in DIALECTS.items():
        if any(call.is_turn and call.fits(path) for call in spoken.calls):
            return name
    return None
