"""Which clients are tried: where each lives, what it runs, which dialects it speaks."""

from dataclasses import dataclass
from typing import Literal

from .environments import FRAMEWORKS, HERE, LITELLM, NODE_MODULES, OLD, Environment

Route = Literal["straight", "through", "onward"]
"""To us straight; `through` LiteLLM's proxy in front of us; `onward` from us to LiteLLM's proxy."""

CHAT, RESPONSES = "openai.chat", "openai.responses"
MESSAGES, GENERATE = "anthropic.messages", "gemini.generate"


@dataclass(frozen=True)
class Client:
    """One row of the table, or one for each of its dialects. `name` is part of its models' names."""

    name: str
    label: str
    package: str
    program: str
    environment: Environment
    dialects: tuple[str, ...]
    raises_from: str = ""
    """The package of its errors; npm's have none."""

    route: Route = "straight"

    @property
    def version(self) -> str:
        """Return what is installed; for a proxy, the proxy's."""
        where = self.environment if self.route == "straight" else LITELLM
        return where.version_of(self.package)


CLIENTS = (
    Client(
        "openai", "openai (Python)", "openai", "openai_sdk.py", HERE, (CHAT, RESPONSES), "openai"
    ),
    Client(
        "openai1", "openai (Python)", "openai", "openai_sdk.py", OLD, (CHAT, RESPONSES), "openai"
    ),
    Client(
        "anthropic",
        "anthropic (Python)",
        "anthropic",
        "anthropic_sdk.py",
        HERE,
        (MESSAGES,),
        "anthropic",
    ),
    Client(
        "anthropic0",
        "anthropic (Python)",
        "anthropic",
        "anthropic_sdk.py",
        OLD,
        (MESSAGES,),
        "anthropic",
    ),
    Client(
        "genai",
        "google-genai (Python)",
        "google-genai",
        "genai_sdk.py",
        HERE,
        (GENERATE,),
        "google",
    ),
    Client("npm-openai", "openai (npm)", "openai", "openai.mjs", NODE_MODULES, (CHAT, RESPONSES)),
    Client(
        *("npm-anthropic", "@anthropic-ai/sdk (npm)", "@anthropic-ai/sdk", "anthropic.mjs"),
        *(NODE_MODULES, (MESSAGES,)),
    ),
    Client(
        *("vercel", "ai with @ai-sdk/openai-compatible (npm)", "ai", "vercel.mjs"),
        *(NODE_MODULES, (CHAT,)),
    ),
    Client(
        *("langchain-openai", "langchain-openai", "langchain-openai", "langchain.py"),
        *(FRAMEWORKS, (CHAT, RESPONSES), "langchain_openai"),
    ),
    Client(
        *("langchain-anthropic", "langchain-anthropic", "langchain-anthropic", "langchain.py"),
        *(FRAMEWORKS, (MESSAGES,), "langchain_anthropic"),
    ),
    Client(
        *("pydantic-ai", "pydantic-ai", "pydantic-ai-slim", "pydantic_agent.py"),
        *(FRAMEWORKS, (CHAT, RESPONSES, MESSAGES, GENERATE), "pydantic_ai"),
    ),
    Client(
        *("through-openai", "LiteLLM's proxy, in front of us", "litellm", "openai_sdk.py"),
        *(HERE, (CHAT, RESPONSES), "openai", "through"),
    ),
    Client(
        *("through-anthropic", "LiteLLM's proxy, in front of us", "litellm", "anthropic_sdk.py"),
        *(HERE, (MESSAGES,), "anthropic", "through"),
    ),
    Client(
        *("onward-openai", "LiteLLM's proxy, behind us", "litellm", "openai_sdk.py"),
        *(HERE, (CHAT, RESPONSES), "openai", "onward"),
    ),
    Client(
        *("onward-anthropic", "LiteLLM's proxy, behind us", "litellm", "anthropic_sdk.py"),
        *(HERE, (MESSAGES,), "anthropic", "onward"),
    ),
)
