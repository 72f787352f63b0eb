"""What providers say of the tokens that they read, in every dialect, streamed and not."""

import pytest

from coatcheck.protocol import PromptUsage, read_usage

_STREAMED = (
    b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":12,'
    b'"cache_creation_input_tokens":300,"cache_read_input_tokens":4000,"output_tokens":1}}}\n\n'
    b'event: message_delta\ndata: {"usage":{"input_tokens":12,"output_tokens":77}}\n\n'
)


@pytest.mark.parametrize(
    ("dialect", "ends", "expected"),
    [
        (
            "openai.chat",
            (
                b'{"usage":{"prompt_tokens":2006,"completion_tokens":300,"total_tokens":2306,'
                b'"prompt_tokens_details":{"cached_tokens":1920}}}'
            ),
            PromptUsage(2006, 1920),
        ),
        (
            "openai.chat",
            b'data: {"usage":{"prompt_tokens": 50,"prompt_cache_hit_tokens": 40}}\n\n',
            PromptUsage(50, 40),
        ),
        (
            "openai.responses",
            b'{"usage":{"input_tokens":36,"input_tokens_details":{"cached_tokens":0}}}',
            PromptUsage(36, 0),
        ),
        ("anthropic.messages", _STREAMED, PromptUsage(4312, 4000)),
        (
            "gemini.generate",
            b'{"usageMetadata":{"promptTokenCount":90,"cachedContentTokenCount":64}}',
            PromptUsage(90, 64),
        ),
        ("openai.chat", b'{"choices":[{"message":{"content":"\\"prompt_tokens\\": 5"}}]}', None),
        ("openai.chat", b"", None),
        ("dify.llm", b'{"prompt_tokens":5}', None),
    ],
)
def test_the_tokens_of_a_prompt_are_found(
    dialect: str, ends: bytes, expected: PromptUsage | None
) -> None:
    assert read_usage(dialect, ends) == expected
