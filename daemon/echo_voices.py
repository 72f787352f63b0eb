"""The voices that echo has: one for each dialect. Adding one adds a module and a line here."""

from .echo_anthropic_messages import AnthropicMessagesVoice
from .echo_dify_llm import DifyLlmVoice
from .echo_gemini_generate import GeminiGenerateVoice
from .echo_openai_chat import OpenAIChatVoice
from .echo_openai_responses import OpenAIResponsesVoice
from .echo_voice import Voice

VOICES: tuple[Voice, ...] = (
    OpenAIChatVoice(),
    OpenAIResponsesVoice(),
    AnthropicMessagesVoice(),
    GeminiGenerateVoice(),
    DifyLlmVoice(),
)
