"""The forms of answers there are, one for each dialect. Adding one adds a module and a line here."""

from collections.abc import Mapping
from types import MappingProxyType

from .answer import AnswerForm
from .answer_anthropic_messages import AnthropicMessagesAnswers
from .answer_dify_llm import DifyLlmAnswers
from .answer_gemini_generate import GeminiGenerateAnswers
from .answer_openai_chat import OpenAIChatAnswers
from .answer_openai_responses import OpenAIResponsesAnswers

_ALL: tuple[AnswerForm, ...] = (
    OpenAIChatAnswers(),
    OpenAIResponsesAnswers(),
    AnthropicMessagesAnswers(),
    GeminiGenerateAnswers(),
    DifyLlmAnswers(),
)

ANSWER_FORMS: Mapping[str, AnswerForm] = MappingProxyType({form.dialect: form for form in _ALL})
"""By the dialect's name."""
