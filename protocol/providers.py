"""The providers there are, and which of them a request means."""

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from .provider import Provider
from .provider_anthropic import Anthropic
from .provider_dify import DIFY
from .provider_gemini import Gemini
from .provider_openai import OpenAI

OPENAI = OpenAI()
ANTHROPIC = Anthropic()
GEMINI = Gemini()

# Paths that one provider alone has. All others are shared: OpenAI's and Anthropic's SDKs both ask
# for /v1/models, and Gemini's did under /v1 too.
_OWN_PATHS: tuple[tuple[re.Pattern[str], Provider], ...] = (
    (re.compile(r"/v1/(messages|complete)(/|$)"), ANTHROPIC),
    (re.compile(r"/v1(alpha|beta)/|/upload/|/ws/"), GEMINI),
    (re.compile(r"/v1/models/[^/]+:[A-Za-z]*([Cc]ontents?|[Tt]okens|predict\w*)$"), GEMINI),
    (re.compile(r"/plugin/|/v2/invoke/|/e/|/backwards-invocation/|/health/check$"), DIFY),
    (re.compile(r"/v1/(chat/|completions|responses|embeddings|audio/|images/)"), OPENAI),
)


def meant_provider(path: str, query: str, headers: Mapping[str, str]) -> Provider:
    """Return the provider that a request means; `headers` ignore case, `query` is as written.

    On a path that several have, its headers say: `anthropic-version` or `x-goog-api-key`, or the
    query's `key`; else it is OpenAI's.
    """
    for pattern, provider in _OWN_PATHS:
        if pattern.match(path):
            return provider
    if "anthropic-version" in headers:
        return ANTHROPIC
    if "x-goog-api-key" in headers or any(name == "key" for name, _ in parse_qsl(query, True)):
        return GEMINI
    return OPENAI
