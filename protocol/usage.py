"""What a provider says of the tokens that it read, found at the two ends of an answer.

Streams say it in their first event or their last ones, whole answers at their end. The names stand nowhere
else: inside a JSON string their quotes would be escaped.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_ANTHROPIC_READ = "cache_read_input_tokens"
# By dialect, as of November 2026: what is added up to the tokens of the prompt; what of it was cached.
_NAMES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = MappingProxyType(
    {
        "openai.chat": (("prompt_tokens",), ("cached_tokens", "prompt_cache_hit_tokens")),
        "openai.responses": (("input_tokens",), ("cached_tokens",)),
        "anthropic.messages": (
            ("input_tokens", _ANTHROPIC_READ, "cache_creation_input_tokens"),
            (_ANTHROPIC_READ,),
        ),
        "gemini.generate": (("promptTokenCount",), ("cachedContentTokenCount",)),
    }
)


@dataclass(frozen=True, slots=True)
class PromptUsage:
    """Tokens of a prompt, and how many of them came from the provider's cache."""

    prompt_tokens: int
    cached_tokens: int


def read_usage(dialect: str, ends: bytes) -> PromptUsage | None:
    """Return what the ends of an answer say; None where they say nothing of the prompt.

    A number that is told more than once is the largest one: streams count up.
    """
    names = _NAMES.get(dialect)
    if names is None:
        return None
    prompt = sum(_largest(name, ends) for name in names[0])
    if not prompt:
        return None
    cached = max(_largest(name, ends) for name in names[1])
    return PromptUsage(prompt, min(cached, prompt))


def _largest(name: str, ends: bytes) -> int:
    found = re.findall(rb'"%s"\s*:\s*(\d{1,12})\b' % name.encode(), ends)
    return max(map(int, found), default=0)
