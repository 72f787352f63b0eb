"""Prefixes: what of a conversation a provider has read before, and where that ends.

Providers and engines cache what a request begins with, in the order in which a model reads it: some values
beside the messages, then the messages. From the first difference on all is read, and paid, anew.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

PREFIX_HEADER = "Coatcheck-Prefix"

LEADING_KEYS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        # platform.openai.com, "Prompt caching": messages, images, tools, and the schema of the output,
        # which stands before the first message (November 2026).
        "openai.chat": ("tools", "functions", "response_format"),
        "openai.responses": ("tools", "text", "instructions"),
        # docs.anthropic.com, "Prompt caching": tools, system, messages; a change of `tool_choice` or
        # `thinking` leaves the cached tools and system, and no message.
        "anthropic.messages": ("tools", "system", "tool_choice", "thinking"),
        # ai.google.dev, "Context caching".
        "gemini.generate": (
            *("cachedContent", "cached_content", "systemInstruction", "system_instruction"),
            *("tools", "toolConfig", "tool_config"),
        ),
        # What a plugin makes of them is its provider's.
        "dify.llm": ("tools",),
    }
)
"""By dialect: the keys whose values a model reads before the messages, in that order."""

PrefixOutcome = Literal["kept", "broken", "new"]
Change = Literal["edited", "inserted", "moved", "removed"]
_token = re.compile(r"[A-Za-z*][A-Za-z0-9_.:/*-]{0,63}")


@dataclass(frozen=True, slots=True)
class PrefixReport:
    """What became of what was sent before.

    `kept`: it begins this request. `broken`: not all of it, from `at` on, a key or a message's path; `lost_bytes`
    stood behind that, and have to be read again. `new`: nothing of this conversation is known.
    """

    outcome: PrefixOutcome
    messages: int = 0
    """How many messages are as they were."""
    at: str | None = None
    role: str | None = None
    """Of the message at which it broke."""
    change: Change | None = None
    """What happened to the message that stood there before."""
    lost_bytes: int = 0


def write_prefix(report: PrefixReport) -> str:
    """Return the header's value: a token with parameters (RFC 8941 section 3.3.4)."""
    parts: list[str] = [report.outcome]
    if report.outcome != "new":
        parts.append(f"messages={report.messages}")
    if report.at is not None:
        safe = report.at.encode("ascii", "replace").decode().replace("\\", "?").replace('"', "?")
        parts.append(f'at="{safe}"')
        if report.role is not None and _token.fullmatch(report.role):
            parts.append(f"role={report.role}")
        if report.change is not None:
            parts.append(f"change={report.change}")
        parts.append(f"bytes={report.lost_bytes}")
    return ";".join(parts)
